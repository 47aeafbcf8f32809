"""Boxes in text: SVIT's referring markup to phrases and boxes, and to the way each model writes boxes, and back.

SVIT writes ``<st>phrase<ed> [x1, y1, x2, y2]``, with shares of the photo's own width and height. Models read the same
box in other words and in other frames of reference; a box in the wrong frame looks right and teaches wrong places.

    >>> from svit_datasets.boxes import convert, parse
    >>> convert("It is a <st>truck<ed> [0, 0.448, 0.328, 0.795].", to="qwen2_vl")
    'It is a <|object_ref_start|>truck<|object_ref_end|><|box_start|>(0,448),(328,795)<|box_end|>.'
    >>> parse("It is a <st>truck<ed> [0, 0.448, 0.328, 0.795].")[0].boxes[0].to_pixels(500, 375)
    (0.0, 168.0, 164.0, 298.125)

`frames` knows what the numbers count, `conventions` how each model writes them, `markup` reads and rewrites a text.
Nothing here knows a row, a photo or a tokenizer.
"""

from __future__ import annotations

from svit_datasets.boxes.conventions import CONVENTIONS, Convention
from svit_datasets.boxes.frames import Box, qwen2_5_vl_size
from svit_datasets.boxes.markup import Referring, convert, parse, write

__all__ = ["CONVENTIONS", "Box", "Convention", "Referring", "convert", "parse", "qwen2_5_vl_size", "write"]
