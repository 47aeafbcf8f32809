"""The embedded sample: a small corpus of drawn scenes in the layout of the real files, made on demand.

``write_sample`` writes it; nothing third-party is inside, and every answer is true of its picture. The line of modules:
kinds, places -> scene -> draw; scene -> conversation, reasoning, referring, description -> corpus; corpus -> llava,
annotations; all of these -> layout -> defects.
"""

from __future__ import annotations

from svit_datasets.sample.layout import SampleSummary, write_sample

__all__ = ["SampleSummary", "write_sample"]
