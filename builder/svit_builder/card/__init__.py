"""A built folder in, its `README.md` and `croissant.json` out: what the Hub, `datasets` and people read of it.

`facts` reads what there is, `metadata` makes the YAML of it, `body` the page, `croissant` the JSON-LD.
"""

from __future__ import annotations

from svit_builder.card.write import CARD, is_ours, write_card

__all__ = ["CARD", "is_ours", "write_card"]
