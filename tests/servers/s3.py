"""An S3 on loopback (moto), and what s3fs needs to reach it.

Needs ``moto[server]`` and ``s3fs``, which are imported only when a server starts. The objects lie in memory and end
with the server.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY, SECRET = "test", "test"  # moto takes any; s3fs must be given some, or it looks for those of the machine


class S3Server:
    """An S3 without buckets from ``with`` to the end of the block.

    ::

        with S3Server() as s3:
            url = s3.upload("bucket", {"a.zip": b"..."}) + "/a.zip"
            fsspec.open(url, **s3.storage_options)
    """

    def __enter__(self) -> Self:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line per request
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        return self

    def __exit__(self, *exception: object) -> None:
        with urlopen(Request(f"{self.url}/moto-api/reset", method="POST"), timeout=10):
            pass  # moto's objects belong to the process; the next server starts empty
        self._server.stop()
        listening = self._server._server
        assert listening is not None
        listening.server_close()  # moto leaves the socket open

    @property
    def storage_options(self) -> dict[str, Any]:
        """For ``fsspec.filesystem("s3", **storage_options)``."""
        return {"endpoint_url": self.url, "key": KEY, "secret": SECRET}

    def upload(self, bucket: str, files: Mapping[str, bytes | Path]) -> str:
        """Put `files` into `bucket`, which is created where it is missing; ``s3://bucket``."""
        client = self._client()
        client.create_bucket(Bucket=bucket)
        for path, source in files.items():
            client.put_object(
                Bucket=bucket, Key=path, Body=source if isinstance(source, bytes) else source.read_bytes()
            )
        return f"s3://{bucket}"

    def remove(self, bucket: str, path: str) -> None:
        """Delete one object."""
        self._client().delete_object(Bucket=bucket, Key=path)

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
