"""A configuration in, another trainer's files out, streaming; photos as the bytes they came in.

`items` makes rows ready, `formats` is the table of formats, each of which is a module of its own, `run` writes a
folder that is there whole or not at all.
"""

from __future__ import annotations

from svit_builder.export.formats import FORMATS, Format
from svit_builder.export.run import ExportReport, export

__all__ = ["FORMATS", "ExportReport", "Format", "export"]
