"""How SVIT and the models write a phrase with its boxes: one table, an entry a convention, each with its source.

An entry says what to look for in a text and which of the functions in `forms` read and write it. All of it is about
one phrase; `markup` goes through a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from svit_datasets.boxes import forms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from svit_datasets.boxes.forms import Found
    from svit_datasets.boxes.frames import Quad

__all__ = ["CONVENTIONS", "Convention"]


@dataclass(frozen=True, slots=True)
class Convention:
    """How a phrase and its boxes stand in a text."""

    name: str
    frame: Literal["photo", "padded", "resized"]  # shares of the photo, of the padded square; pixels
    step: float  # what coordinates are rounded to: in shares, or one pixel in the frame "resized"
    marks: tuple[str, str] | None  # around the phrase; None: it cannot be told from the words before it
    pattern: str  # regular expression of the boxes of one phrase, or of some of them
    join: str  # regular expression of what stands between two of these
    read: Callable[[str], Found]  # of what pattern found; see `forms`
    write: Callable[[str, Sequence[Quad]], str]  # phrase, "" for none, and at least one box
    source: str  # where this form is published
    alone: str = r"(?s:.*)"  # what a match must be to be a box where no marked phrase stands before it
    tokens: frozenset[str] = frozenset()  # of what it writes, that is a token of the models that have the convention


# Where no phrase is marked, brackets are boxes if they hold three or more numbers of which one has a decimal point, or
# four times 0 or 1. So a list of integers in the text stays a list, and a broken box is still noticed.
_DECIMALS = r"\[(?=[^\]]*\.)[^,\]]*+(?:,[^,\]]*+){2,}+\]|\[(?:\s*+[01]\s*+,?+){4}\]"
_JSON_BOX = r'\{"bbox_2d":\s*+\[[^][{}"]*+\](?:,\s*+"label":\s*+"(?:[^"\\]|\\.)*+")?+\s*+\}'
_NEVER = "(?!)"


def _decimal(name: str, frame: Literal["photo", "padded"], marks: tuple[str, str] | None, source: str) -> Convention:
    def write(phrase: str, quads: Sequence[Quad]) -> str:
        boxes = forms.brackets(quads)
        return forms.marked(phrase, boxes, marks, " ") if marks else forms.after(phrase, boxes)

    pattern, join = r"\[[-+.,\d\s]*+\]", r"\s*+,?\s*+"
    return Convention(name, frame, 0.001, marks, pattern, join, forms.read_lists, write, source, _DECIMALS)


def _qwen(name: str, marks: tuple[str, str], around: tuple[str, str], source: str) -> Convention:
    def write(phrase: str, quads: Sequence[Quad]) -> str:
        rows = (forms.thousandths(quad, 999) for quad in quads)
        boxes = "".join(f"{around[0]}({x1},{y1}),({x2},{y2}){around[1]}" for x1, y1, x2, y2 in rows)
        return forms.marked(phrase, boxes, marks)

    def read(text: str) -> Found:
        return forms.read_numbers(text, 1000)

    pattern = rf"{re.escape(around[0])}[^<]*+{re.escape(around[1])}"
    tokens = frozenset(marks + around)
    return Convention(name, "photo", 0.001, marks, pattern, r"\s*+", read, write, source, tokens=tokens)


def _write_florence2(phrase: str, quads: Sequence[Quad]) -> str:
    return phrase + "".join(f"<loc_{forms.as_bin(value, 1000)}>" for quad in quads for value in quad)


def _write_shikra(phrase: str, quads: Sequence[Quad]) -> str:
    return f"{phrase}[{';'.join(','.join(f'{value:.3f}' for value in quad) for quad in quads)}]"


def _write_internvl(phrase: str, quads: Sequence[Quad]) -> str:
    boxes = ", ".join(str(forms.thousandths(quad)) for quad in quads)
    return forms.marked(phrase, f"<box>[{boxes}]</box>", ("<ref>", "</ref>"))


def _write_ferret(phrase: str, quads: Sequence[Quad]) -> str:
    return forms.after(phrase, ", ".join(str(forms.thousandths(quad)) for quad in quads))


def _write_cogvlm(phrase: str, quads: Sequence[Quad]) -> str:
    boxes = ";".join(",".join(f"{value:03d}" for value in forms.thousandths(quad, 999)) for quad in quads)
    return forms.after(phrase, f"[[{boxes}]]")


def _write_minigpt_v2(phrase: str, quads: Sequence[Quad]) -> str:
    boxes = "<delim>".join("{" + "".join(f"<{round(value * 100)}>" for value in quad) + "}" for quad in quads)
    return forms.marked(phrase, boxes, ("<p>", "</p>"), " ")


_TABLE = (
    _decimal("svit", "photo", ("<st>", "<ed>"), "arXiv 2307.04087; the files data/*.zip of BAAI/SVIT"),
    _decimal("plain", "photo", None, "SVIT's own numbers, without <st> and <ed>"),
    _decimal("padded", "padded", None, "the files format/llava-v1.5 of BAAI/SVIT; LLaVA 1.5, llava/mm_utils.py"),
    _qwen("qwen_vl", ("<ref>", "</ref>"), ("<box>", "</box>"), "arXiv 2308.12966; QwenLM/Qwen-VL, README.md"),
    _qwen(
        "qwen2_vl",
        ("<|object_ref_start|>", "<|object_ref_end|>"),
        ("<|box_start|>", "<|box_end|>"),
        "arXiv 2409.12191, section 2",
    ),
    Convention(
        name="qwen2_5_vl",
        frame="resized",
        step=1.0,
        marks=None,  # the phrase is the label, inside the box's own text
        pattern=rf"{_JSON_BOX}|\[\s*+{_JSON_BOX}(?:\s*+,\s*+{_JSON_BOX})*+\s*+\]",
        join=_NEVER,
        read=forms.read_json,
        write=forms.write_json,
        source="arXiv 2502.13923, section 2; QwenLM/Qwen3-VL, qwen-vl-finetune/README.md",
    ),
    Convention(
        name="paligemma",
        frame="photo",
        step=1 / 1024,
        marks=None,
        pattern=r"(?:<loc\d{4}>)++",
        join=r"\s*+;\s*+",
        read=forms.read_paligemma,
        write=forms.write_paligemma,
        source="arXiv 2407.07726; google-research/big_vision, big_vision/configs/proj/paligemma",
        tokens=frozenset(f"<loc{number:04d}>" for number in range(1024)),
    ),
    Convention(
        name="kosmos2",
        frame="photo",
        step=1 / 32,
        marks=("<phrase>", "</phrase>"),
        pattern=r"<object>(?:<patch_index_\d{4}>|</delimiter_of_multi_objects/>|\s)*+</object>",
        join=_NEVER,
        read=forms.read_kosmos2,
        write=forms.write_kosmos2,
        source="arXiv 2306.14824, section 2; transformers, models/kosmos2/processing_kosmos2.py",
        tokens=frozenset(
            ["<phrase>", "</phrase>", "<object>", "</object>", "</delimiter_of_multi_objects/>"]
            + [f"<patch_index_{number:04d}>" for number in range(1024)]
        ),
    ),
    Convention(
        name="florence2",
        frame="photo",
        step=1 / 1000,
        marks=None,
        pattern=r"(?:<loc_\d{1,4}>)++",
        join=_NEVER,
        read=lambda text: forms.read_numbers(text, 1000, 0.5),
        write=_write_florence2,
        source="arXiv 2311.06242, section 3; transformers, models/florence2/processing_florence2.py",
        tokens=frozenset(f"<loc_{number}>" for number in range(1000)),
    ),
    Convention(
        name="shikra",
        frame="padded",
        step=0.001,
        marks=None,
        pattern=r"\[[-+.,;\d\s]*+\]",
        join=_NEVER,
        read=forms.read_lists,
        write=_write_shikra,
        source="arXiv 2306.15195; shikras/shikra, mllm/dataset/process_function/box_process_function.py",
        alone=_DECIMALS,
    ),
    Convention(
        name="internvl",
        frame="photo",
        step=0.001,
        marks=("<ref>", "</ref>"),
        pattern=r"<box>[^<]*+</box>",
        join=r"\s*+",
        read=forms.read_internvl,
        write=_write_internvl,
        source="arXiv 2404.16821; OpenGVLab/InternVL, internvl_chat/eval/refcoco/evaluate_grounding.py",
        tokens=frozenset(["<ref>", "</ref>", "<box>", "</box>"]),
    ),
    Convention(
        name="ferret",
        frame="photo",
        step=0.001,
        marks=None,
        pattern=r"\[[-,\d\s]*+\]",
        join=r"\s*+,?\s*+",
        read=lambda text: forms.read_lists(text, 1000),
        write=_write_ferret,
        source="arXiv 2310.07704; apple/ml-ferret, ferret/eval/model_refcoco.py",
        alone=r"\[[^,\]]*+(?:,[^,\]]*+){3}\]",
    ),
    Convention(
        name="cogvlm",
        frame="photo",
        step=0.001,
        marks=None,
        pattern=r"\[\[[-,;\d\s]*+\]\]",
        join=_NEVER,
        read=lambda text: forms.read_lists(text, 1000),
        write=_write_cogvlm,
        source="arXiv 2311.03079, section 2; THUDM/CogVLM, README.md",
    ),
    Convention(
        name="minigpt_v2",
        frame="photo",
        step=0.01,
        marks=("<p>", "</p>"),
        pattern=r"\{(?:<\d{1,4}>)++\}",
        join=r"\s*+<delim>\s*+",
        read=lambda text: forms.read_numbers(text, 100),
        write=_write_minigpt_v2,
        source="arXiv 2310.09478, section 3; Vision-CAIR/MiniGPT-4, demo_v2.py",
    ),
)
CONVENTIONS: dict[str, Convention] = {convention.name: convention for convention in _TABLE}
