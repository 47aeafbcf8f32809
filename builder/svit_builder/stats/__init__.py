"""A dataset in, what it holds in numbers out: one pass over its texts, a comparison with the paper, and plots.

`meter` reads and counts, `statistics` is what is counted, `sketch` counts distinct things in bounded memory;
`compare` sets the numbers beside the paper's, `plots` draws them. No photo is read.
"""

from __future__ import annotations

from svit_builder.stats.meter import measure
from svit_builder.stats.statistics import Statistics

__all__ = ["Statistics", "measure"]
