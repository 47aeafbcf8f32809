"""Arrow arrays made without pandas are those that pyarrow makes itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import tests.strategies  # noqa: F401 - sets the profile: no deadline, no database
from svit_datasets.columns import as_numpy, booleans, flags, integers, strings, table
from svit_datasets.sample import write_sample

KINDS = [pa.int32(), pa.int64()]
NUMBERS = st.integers(-(2**31), 2**31 - 1)


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts(values):
    found = strings(values)
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.string()))


@given(st.lists(NUMBERS), st.sampled_from(KINDS))
def test_integers_and_back(values, kind):
    found = integers(values, kind)
    found.validate(full=True)
    assert found.equals(pa.array(values, kind))
    assert as_numpy(found).tolist() == values
    assert as_numpy(found).flags.writeable


@given(st.lists(st.lists(st.none() | NUMBERS)), st.sampled_from(KINDS), st.integers(0, 9))
def test_nulls_parts_and_chunks(chunks, kind, start):
    column = pa.chunked_array([pa.array(chunk, kind) for chunk in chunks], kind).slice(start)
    expected = [-7 if value is None else value for value in column.to_pylist()]
    assert as_numpy(column, -7).tolist() == expected
    assert as_numpy(column).dtype == kind.to_pandas_dtype()


@given(st.lists(st.none() | st.booleans()), st.integers(0, 9))
def test_truth(values, start):
    plain = [bool(value) for value in values]
    assert flags(plain).equals(pa.array(plain, pa.bool_()))
    column = pa.array(values, pa.bool_()).slice(start)
    assert booleans(column).tolist() == plain[start:]
    chunks = pa.chunked_array([column.slice(at, 3) for at in range(0, len(column), 3)], pa.bool_())
    assert booleans(chunks).tolist() == plain[start:]


def test_a_table():
    found = table(a=integers(np.arange(2), pa.int64()), b=strings(["x", None]))
    assert found.equals(pa.table({"a": [0, 1], "b": ["x", None]}))


READ = """
import sys
from svit_datasets import stream
for name in ("all", "core_150k"):
    for row in stream(name, data_dir=sys.argv[1], cache_dir=sys.argv[1] + "/c", holdout=None, rows="conversation"):
        pass
print(sorted({"pandas", "datasets"} & set(sys.modules)))
"""


def test_a_stream_imports_no_pandas(tmp_path):
    """Neither where the text is prepared nor where it lies in the cache: it would cost 50 MB and 0.3 s."""
    write_sample(tmp_path / "sample", images=4)
    for _ in range(2):
        command = [sys.executable, "-c", READ, str(tmp_path / "sample")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert done.stdout.strip() == "[]"
