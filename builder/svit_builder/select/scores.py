"""A file of external scores in, a score for each sample out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from svit_datasets.errors import CorruptFile, OptionError, SourceNotFound

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from svit_builder.select.samples import Numbers, Samples

__all__ = ["read_scores"]

_READERS = {".parquet": pq.read_table, ".csv": pyarrow.csv.read_csv, ".jsonl": pyarrow.json.read_json}
_NAME = r"^(?P<image>\d{1,9})/(?P<task>\w+)/(?P<number>\d{1,5})$"


def read_scores(path: str | os.PathLike[str], samples: Samples, configs: Sequence[str]) -> Numbers:
    """Return (n,) float64, nan where a sample has no score.

    Args:
        path: Parquet, CSV or JSON lines with columns ``id`` and ``score``; ids of other samples are allowed.
        samples: n of them.
        configs: the names of their configurations.

    Raises:
        SourceNotFound: the file is not there.
        OptionError: its name has another ending, or no sample has a score.
        CorruptFile: it cannot be read, has no such columns, or an id is none.
    """
    file = Path(path).expanduser()
    if file.suffix not in _READERS:
        raise OptionError(f"{file}: scores are read from {', '.join(_READERS)}.")
    try:
        table = _READERS[file.suffix](file)
        ids, score = table["id"].cast(pa.string()), table["score"].cast(pa.float64())
    except FileNotFoundError as error:
        raise SourceNotFound(f"{file}: there is no such file of scores.") from error
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CorruptFile(
            f"{file}: cannot be read as scores ({error}). It has a column `id` such as 306/complex_reasoning/3, and a "
            "column `score` of numbers."
        ) from error
    parts = pc.extract_regex(ids, _NAME).combine_chunks()
    bad = np.flatnonzero(np.asarray(parts.is_null()))
    if len(bad):
        raise CorruptFile(f"{file}, row {bad[0]:,}: {ids[int(bad[0])]} is no id such as 306/complex_reasoning/3.")
    config = pc.index_in(parts.field("task"), pa.array(list(configs), pa.string())).fill_null(-1)
    names = _names(
        *(
            np.asarray(part)
            for part in (config, parts.field("image").cast(pa.int64()), parts.field("number").cast(pa.int64()))
        )
    )
    known = np.asarray(config) >= 0
    names, values = names[known], np.asarray(score.combine_chunks())[known]
    order = np.argsort(names, kind="stable")
    mine = _names(samples.config, samples.image_id, samples.number)
    at = np.searchsorted(names[order], mine)
    found = np.full(len(samples), np.nan)
    there = at < len(names)
    there[there] = names[order][at[there]] == mine[there]
    found[there] = values[order][at[there]]
    if len(samples) and not there.any():
        raise OptionError(f"{file}: none of its {len(table):,} ids is of a conversation that could be chosen.")
    return found


def _names(config: Numbers, image_id: Numbers, number: Numbers) -> Numbers:
    """Return a number for each name."""
    return (image_id.astype(np.int64) << 24) | (config.astype(np.int64) << 16) | number.astype(np.int64)
