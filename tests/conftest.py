"""The servers that tests share; and a Hub that does not exist for whoever names none."""

from __future__ import annotations

import atexit
import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.servers import FileServer, Hub, S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator

# huggingface_hub reads these when it is imported, and asks its endpoint for things of its own. No test may leave this
# machine, nor use or fill what its owner keeps in ~/.cache/huggingface.
_home = tempfile.TemporaryDirectory(prefix="svit-tests-")
atexit.register(_home.cleanup)
os.environ.pop("HF_TOKEN", None)
os.environ.update(HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=_home.name, HF_HUB_DISABLE_XET="1")


@pytest.fixture
def http_server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One for all, as it takes a second to come and go: use a bucket of your own."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with S3Server() as server:
        yield server
