"""Which images are wanted: lists of ids, the held-out list wherever it lies, answers to an empty message."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svit_datasets.errors import ChecksumMismatch, OptionError, SourceNotFound, SourceUnreachable
from svit_datasets.filters import is_message_empty, listed_ids, parse_ids, select_ids
from svit_datasets.sources import _fetch_published, read_holdout, upstream
from svit_datasets.storage import Storage
from tests import strategies
from tests.servers import Fault

REAL = Path(__file__).parents[2] / "shared/data/real/svit"


@given(ids=st.lists(strategies.IDS), between=st.sampled_from(["\n", "\r\n", "\n\n", " \n", "\n\t"]))
def test_ids_are_read_once_each_and_in_order(ids, between):
    for start in ("", "\ufeff"):
        found = parse_ids(start + between.join(map(str, ids)), "list.txt")
        assert found.dtype == np.int64
        assert found.tolist() == sorted(set(ids))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nabc\n", r"list\.txt, line 2: expected a Visual Genome id, found 'abc'"),
        ("1\n\n-5", r"line 3: .*'-5'"),
        ("1.0", r"line 1: .*'1\.0'"),
        ("1,2", r"line 1: .*'1,2'"),
        ("VG_100K/1.jpg", "line 1"),
        ("7\n" + "9" * 30, "line 2: .*'9+'"),
        ("7\n" + "9" * 5_000, "line 2: .*'9+'"),
        ("x" * 5_000, "line 1"),
    ],
)
def test_a_line_that_is_no_id_is_quoted(text, message):
    with pytest.raises(OptionError, match=message) as caught:
        parse_ids(text, "list.txt")
    assert len(str(caught.value)) < 200


IDS = np.array([5, 306, 1, 306, 7], dtype=np.int64)


@pytest.mark.parametrize(
    ("wanted", "mask"),
    [
        (None, [1, 1, 1, 1, 1]),
        ([306, 7], [0, 1, 0, 1, 1]),
        ((), [0, 0, 0, 0, 0]),
        ({5}, [1, 0, 0, 0, 0]),
        (range(2), [0, 0, 1, 0, 0]),
        (np.array([1, 5]), [1, 0, 1, 0, 0]),
        ([999], [0, 0, 0, 0, 0]),
        (lambda image_id: image_id > 6, [0, 1, 0, 1, 1]),
    ],
)
def test_ids_are_selected(wanted, mask):
    assert select_ids(IDS, wanted).tolist() == [bool(each) for each in mask]
    assert select_ids(IDS[:0], wanted).tolist() == []


def test_a_function_is_given_plain_numbers():
    seen = []
    select_ids(IDS, seen.append)
    assert seen == IDS.tolist()
    assert {type(each) for each in seen} == {int}


def test_a_file_of_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ids.txt").write_text("306\n\n5\n")
    for name in (tmp_path / "ids.txt", str(tmp_path / "ids.txt"), "~/ids.txt"):
        assert select_ids(IDS, name).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("content", [None, b"1\nx\n", "306".encode("utf-16")])
def test_a_file_that_is_no_list_of_ids(tmp_path, content):
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=r"ids\.txt"):
        listed_ids(path)


@pytest.mark.parametrize("wanted", [5, ["a"], [None], [10**30], [1.5]])
def test_what_is_no_list_of_ids(wanted):
    with pytest.raises(OptionError, match="image_ids must hold Visual Genome ids"):
        listed_ids(wanted)


class TestHoldout:
    @pytest.fixture
    def published(self, http_server):
        data = b"8\n30\n306\n"
        row = upstream()["test_image_ids"]
        return replace(row, url=http_server.put("ids.txt", data), sha256=hashlib.sha256(data).hexdigest())

    @pytest.mark.parametrize("name", ["test_image_ids.txt", "data/test_image_ids.txt"])
    def test_under_data_dir(self, tmp_path, http_server, name):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("30\n8\n")
        http_server.put(f"d/{name}", b"30\n8\n")
        for data_dir in (str(tmp_path), f"{http_server.url}/d"):
            assert read_holdout("official", data_dir, Storage(), tmp_path / "cache").tolist() == [8, 30]
        assert not (tmp_path / "cache").exists()

    def test_a_file_of_one_s_own(self, tmp_path, http_server):
        (tmp_path / "test_image_ids.txt").write_text("1\n")
        (tmp_path / "mine.txt").write_text("\ufeff30\r\n8\r\n")
        for mine in (tmp_path / "mine.txt", str(tmp_path / "mine.txt"), http_server.put("mine.txt", b"8\n30")):
            assert read_holdout(mine, str(tmp_path), Storage(), tmp_path / "cache").tolist() == [8, 30]

    def test_a_file_that_is_not_there_or_no_list(self, tmp_path):
        with pytest.raises(SourceNotFound, match=r"mine\.txt"):
            read_holdout(tmp_path / "mine.txt", None, Storage(), tmp_path)
        for content in (b"1\nx", "30\n".encode("utf-16")):
            (tmp_path / "mine.txt").write_bytes(content)
            with pytest.raises(OptionError, match=r"mine\.txt"):
                read_holdout(tmp_path / "mine.txt", None, Storage(), tmp_path)

    def test_the_published_list_is_checked(self, http_server, published):
        assert _fetch_published(published, Storage()) == b"8\n30\n306\n"
        http_server.put("ids.txt", b"8\n30\n307\n")
        digest = hashlib.sha256(b"8\n30\n307\n").hexdigest()
        expected = rf"ids\.txt: sha256 is {digest}, expected {published.sha256}\. Nothing was kept.*holdout="
        with pytest.raises(ChecksumMismatch, match=expected):
            _fetch_published(published, Storage())

    @pytest.mark.parametrize("code", [404, 403, 503])
    def test_the_published_list_cannot_be_fetched(self, http_server, published, code):
        http_server.faults.add(Fault("status", code=code, times=None))
        with pytest.raises(SourceUnreachable) as caught:
            _fetch_published(published, Storage(attempts=2, backoff=0.01))
        for words in ("held-out images", "ids.txt", "test_image_ids.txt under data_dir", 'holdout="path"', "=None"):
            assert words in str(caught.value)

    def test_the_published_list_is_kept(self, tmp_path):
        """What lies in the cache under the digest's name is not fetched again: no test could reach it."""
        digest = upstream()["test_image_ids"].sha256
        (tmp_path / f"test_image_ids-{digest[:8]}.txt").write_text("8\n30\n")
        assert read_holdout("official", None, Storage(), tmp_path).tolist() == [8, 30]
        (tmp_path / "empty").mkdir()
        assert read_holdout("official", str(tmp_path / "empty"), Storage(), tmp_path).tolist() == [8, 30]

    @pytest.mark.real
    @pytest.mark.skipif(not REAL.is_dir(), reason="no real files beside this checkout")
    def test_the_real_list_is_the_published_one(self):
        data = (REAL / "test_image_ids.txt").read_bytes()
        assert hashlib.sha256(data).hexdigest() == upstream()["test_image_ids"].sha256
        ids = read_holdout("official", str(REAL), Storage(), Path("/nowhere"))
        assert (len(ids), ids.min(), ids.max()) == (10_808, 8, 2_417_983)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("I would answer, but your message is empty. Ask again.", True),
        ("I'm sorry, but your message appears to be empty.", True),
        ("Your messages was empty", True),
        ("Your message, unfortunately, is empty.", True),
        ("The message you sent seems to be an empty message.", True),
        ("A message on the board reads: the glass is empty.", False),
        ("The plate is empty. A message hangs above.", False),
        ("The message board is full and the street is empty.", False),
        ("The message on the wall was written by a child. The room is empty.", False),
        ("", False),
    ],
)
def test_an_answer_to_an_empty_message(answer, expected):
    assert is_message_empty(answer) is expected


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="no real files beside this checkout")
def test_the_real_answers_to_an_empty_message():
    for text in json.loads((REAL / "invalid_detail_descriptions.json").read_text("utf-8"))["text_seen"]:
        assert is_message_empty(text)
