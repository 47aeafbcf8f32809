"""Real servers on 127.0.0.1 for tests: files over HTTP with faults, a Hugging Face Hub, an S3."""

from .faults import Fault
from .http import FileServer, Spawned, spawned
from .hub import Hub
from .s3 import S3Server

__all__ = ["Fault", "FileServer", "Hub", "S3Server", "Spawned", "spawned"]
