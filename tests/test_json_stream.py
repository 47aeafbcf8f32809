"""``iter_items`` against every way to write, cut, damage and hand over a file of JSON."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svit_datasets.errors import CorruptFile
from svit_datasets.json_stream import iter_items
from tests.strategies import ANY_JSON, SIZES, Trickle, written

WINDOW = 1 << 20  # what the stream reads at a time
ITEMS = [{"image_id": 1, "größe": "a"}, {"emoji": "😀", "list": [1, {"k": None}]}, {"end": "ß"}]


def items_of(data, sizes=(WINDOW,)):
    """All items with the byte at which each begins."""
    return [(item, where()) for _, item, where in iter_items(Trickle(data, list(sizes)), "a.json")]


def value_at(data, byte):
    return json.JSONDecoder().raw_decode(data[byte:].decode())[0]


@given(data=st.data(), items=st.lists(ANY_JSON, max_size=5), sizes=SIZES)
def test_any_writing_in_any_pieces_gives_the_same_items(data, items, sizes):
    file = data.draw(written(items))
    found = items_of(file, sizes)
    assert [item for item, _ in found] == items
    assert [value_at(file, byte) for _, byte in found] == items
    assert [number for number, *_ in iter_items(io.BytesIO(file), "a.json")] == list(range(len(items)))


@given(data=st.data(), items=st.lists(st.dictionaries(st.text(max_size=3), ANY_JSON, max_size=2), max_size=3))
def test_a_cut_array_is_never_a_shorter_one(data, items):
    file = data.draw(written(items)).rstrip()
    cut = data.draw(st.integers(0, len(file) - 1))
    if not file.endswith(b"]") or file.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"[":
        return  # JSON lines: see below
    with pytest.raises(CorruptFile, match=r"a\.json: .*byte \d+"):
        items_of(file[:cut], data.draw(SIZES))


@pytest.mark.parametrize("ensure_ascii", [False, True])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("sizes", [(WINDOW,), (1,), (3, 1)])
def test_an_array_cut_at_every_byte(ensure_ascii, bom, sizes):
    file = bom + json.dumps(ITEMS, ensure_ascii=ensure_ascii).encode()
    assert [item for item, _ in items_of(file, sizes)] == ITEMS
    for cut in range(len(file)):
        with pytest.raises(CorruptFile, match=r"a\.json: .*byte \d+"):
            items_of(file[:cut], sizes)


@pytest.mark.parametrize("sizes", [(WINDOW,), (1,)])
def test_lines_cut_at_every_byte(sizes):
    """Between two lines a cut cannot be seen; within one it is an error."""
    lines = [json.dumps(item, ensure_ascii=False).encode() for item in ITEMS]
    file, ends = b"\n".join(lines), [0]
    for line in lines:
        ends.append(ends[-1] + len(line) + 1)
    for cut in range(1, len(file)):
        whole = next((number for number, end in enumerate(ends) if cut in (end, end - 1)), None)
        if whole is None:
            with pytest.raises(CorruptFile, match=r"byte \d+"):
                items_of(file[:cut], sizes)
        else:
            assert [item for item, _ in items_of(file[:cut], sizes)] == ITEMS[:whole]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty: no JSON from byte 0 on"),
        (b" \r\n\t ", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"[", "the array is not closed: the file breaks off at byte 1, after 0 whole records. Copy or download"),
        (b'[{"a": 1}', "the file breaks off at byte 9, after 1 whole records"),
        (b'[{"a": 1}, {"b": "' + b"x" * 50, "the file breaks off at byte 68, inside record 1, which begins at byte 11"),
        (b"[] x", "something follows the end of the array, at byte 3"),
        (b"[{}]\n[{}]", "something follows the end of the array, at byte 5"),
        (b"[{} {}]", "expected ',' or ']' after record 0, found '{' at byte 4"),
        ("[{}, {'ß': 1}]".encode(), "record 1, byte 6: not JSON"),
        (b"[,{}" + b" " * 20 + b"]", "record 0, byte 1: not JSON"),
        (b'"text"', "expected a JSON array or JSON lines, found '\"' at byte 0"),
        (b"\n <html>", "found '<' at byte 2"),
        (b"PK\3\4" + b"\0" * 30, "found 'P' at byte 0"),
        ("[]".encode("utf-16"), "byte 0 is not UTF-8"),
        ('[{"a": "\u00e4\u00f6"}]'.encode("latin-1"), "byte 8 is not UTF-8"),
        (b'[{"a": "\xed\xa0\x80"}]', "byte 8 is not UTF-8"),
        (b'{"a": 1}\nb\n' + b" " * 20, "record 1, byte 9: not JSON"),
        (b'[{"a": "' + b"x" * 20 + b'\n"}, {}, {}, {}, {}]', "record 0, byte 28: not JSON (Invalid control character"),
        (b'[{"a": [1, 2}, {}, {}, {}, {}, {}, {}, {}, {}]', "record 0, byte 12: not JSON"),
    ],
)
@pytest.mark.parametrize("sizes", [(WINDOW,), (1,)])
def test_what_is_no_json_is_named_with_its_byte(data, message, sizes):
    with pytest.raises(CorruptFile, match=rf"a\.json: .*{re.escape(message)}"):
        items_of(data, sizes)


def test_a_compressed_stream_is_no_json():
    with pytest.raises(CorruptFile, match="byte 1 is not UTF-8"):
        items_of(b"\x1f\x8b\x08" + b"\0" * 30)


def test_a_comma_before_the_end_is_no_break():
    """The file is whole, so to copy it again would not help."""
    with pytest.raises(CorruptFile, match=r"record 1, byte 11: not JSON") as caught:
        items_of(b'[{"a": 1}, ]')
    assert "breaks off" not in str(caught.value)


def test_a_cut_inside_a_character_is_a_break():
    with pytest.raises(CorruptFile, match=r"breaks off at byte 9\b.*Copy or download it again"):
        items_of('[{"a": "ß'.encode()[:-1])  # seven characters and half of one


def test_good_items_before_a_broken_one_come_out():
    found = iter_items(io.BytesIO(b'[{"a": 1}, {"b": 2}, {"c"'), "a.json")
    assert [next(found)[1], next(found)[1]] == [{"a": 1}, {"b": 2}]
    with pytest.raises(CorruptFile, match="inside record 2, which begins at byte 21"):
        next(found)


@pytest.mark.parametrize("text", ["1.5", "-1", "1e5", "-1.25E+3", "true", "null", '"a\\u00e4"', "12345678"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_bare_values_are_whole_whatever_the_pieces(text, size):
    assert items_of(f"[{text},{text}]".encode(), [size]) == [
        (json.loads(text), 1),
        (json.loads(text), 2 + len(text)),
    ]


def test_deep_nesting_is_an_error_of_ours():
    for depth in (10_000, 1_000_000):
        for opening in (b"[", b'{"a":'):
            with pytest.raises(CorruptFile, match="record 0, byte 1: nested too deeply"):
                items_of(b"[" + opening * depth)


def test_a_number_that_python_refuses_is_no_break():
    file = b'[{"a": ' + b"9" * 5_000 + b'}, {"b": 1}]'
    with pytest.raises(CorruptFile, match=r"record 0, byte \d+: not JSON.*4300 digits") as caught:
        items_of(file)
    assert "breaks off" not in str(caught.value)


def test_large_numbers_repeated_keys_and_nan_are_as_python_reads_them():
    found = [item for item, _ in items_of(b'[{"a": 1, "a": 2, "b": 123456789012345678901234567890}, NaN, -Infinity]')]
    assert found[0] == {"a": 2, "b": 123456789012345678901234567890}
    assert found[1] != found[1]
    assert found[2] == float("-inf")


@pytest.mark.parametrize("shift", range(4))
def test_a_character_across_the_window_s_edge(shift):
    head = b'[{"a": "'
    text = "x" * (WINDOW - len(head) - shift) + "😀" * 3
    file = json.dumps([{"a": text}, {"b": 1}], ensure_ascii=False).encode()
    assert [item for item, _ in items_of(file)] == [{"a": text}, {"b": 1}]
    assert items_of(file)[1][1] == file.index(b'{"b"')


def test_an_item_longer_than_the_window():
    items = [{"a": "x" * 3_500_000}, {"b": "ß" * 700_000}, {"c": 1}]
    file = json.dumps(items, ensure_ascii=False).encode()
    found = items_of(file, [1 << 16, 1 << 20])
    assert [item for item, _ in found] == items
    assert [file[byte : byte + 3] for _, byte in found] == [b'{"a', b'{"b', b'{"c']


def test_it_reads_no_further_than_it_must():
    file = json.dumps([{"image_id": number, "text": "x" * 1000} for number in range(6_000)]).encode()
    stream = Trickle(file, [1 << 20])
    found = iter_items(stream, "a.json")
    assert stream.at == 0
    for number, (_, item, _) in enumerate(found):
        assert item["image_id"] == number
        assert stream.at <= (number + 2) * 1_100 + 2 * WINDOW
    assert stream.at == len(file)


def test_what_never_ends_is_given_up():
    """A string without its end takes 64 MB before it is called no JSON, not the memory of the machine."""

    class Endless:
        taken = 0

        def read(self, size):
            self.taken += size
            return (b'[{"a": "' + b"x" * size)[:size] if self.taken == size else b"x" * size

    stream = Endless()
    with pytest.raises(CorruptFile, match="record 0, byte 7: not JSON"):
        next(iter_items(stream, "a.json"))
    assert 64 << 20 <= stream.taken <= 256 << 20
