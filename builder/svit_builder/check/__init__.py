"""A dataset in, what is wrong with it out: texts, boxes, objects, duplicates, evaluation images; and a cleaned copy.

`texts` applies the rules of generation to published answers, `objects` compares them with the photos' annotations,
`duplicates` finds answers that come again, `contamination` photos that stand in evaluation sets. `examine` goes through
a configuration, `run` through a dataset, `fixing` writes the copy and `page` the report.
"""

from __future__ import annotations

from svit_builder.check.run import Report, check
from svit_builder.check.table import CHECKS

__all__ = ["CHECKS", "Report", "check"]
