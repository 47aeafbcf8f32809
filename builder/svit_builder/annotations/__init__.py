"""Published annotation files in, all that people wrote of a photo out: its captions, objects and regions.

`files` finds and opens the files of Visual Genome and MS-COCO in any layout, `parse` reads them, whatever the version,
`table` keeps each as a table on disk with random access by photo, and `read` joins them: an `Annotated` a photo. What
is made of it for a model is in `svit_builder.generate.context`.
"""

from __future__ import annotations

from svit_builder.annotations.read import Annotations, open_annotations

__all__ = ["Annotations", "open_annotations"]
