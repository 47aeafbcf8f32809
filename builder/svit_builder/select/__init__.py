"""Choose the most informative part of a dataset, in the manner of SVIT-core-150K.

    from svit_builder.select import Wanted, read_concepts, select

    select("/data/svit", "core", concepts=read_concepts(["perception.txt"]), wanted=Wanted(budget=150_000))

The paper's own list of concepts, and how it drew, are not public: it tells that key concepts of benchmarks were listed,
that a sample's information is its overlap with them, that the most informative were kept, and that yes and no answers
were balanced afterwards (https://arxiv.org/abs/2307.04087, version 3). This does the same with lists of the user's.

`concepts` reads the lists, `samples` goes once over the texts, `greedy` chooses, `output` writes the chosen
conversations as SVIT JSON, with a manifest from which `again` makes the same bytes.
"""

from __future__ import annotations

from svit_builder.select.choose import Selection, again, select
from svit_builder.select.concepts import Concepts, read_concepts
from svit_builder.select.greedy import Wanted

__all__ = ["Concepts", "Selection", "Wanted", "again", "read_concepts", "select"]
