"""One template and one conversation in; whether `ChatRenderer` wrote every turn once, kept the image, and knows where.

Where texts stand is told without our spans. The scaffold, what a template writes between the messages, is cut out of
transformers' render of a conversation whose texts are unique; with it the text of any other conversation, and the place
of each message in it, can be said beforehand. Where a template's scaffold depends on what is said, the gap between two
unique questions must hold the answer once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, models, pre_tokenizers

from svit_datasets.chat import ChatRenderer
from svit_datasets.errors import SvitError
from tests.benchmarks.chat import oracle
from tests.benchmarks.chat.conversations import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svit_datasets.chat import Rendered
    from tests.benchmarks.chat.conversations import Talk
    from tests.benchmarks.chat.gather import Found
    from tests.benchmarks.chat.oracle import Way

__all__ = ["IMAGE_TEXT", "Subject", "Verdict", "asks_for_image", "check", "examined", "renderer_for", "tiny_tokenizer"]

IMAGE_TEXT = "<image>"  # what a text-only template is told to take for the image, as LLaVA's are
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
_NATURAL = KINDS["natural"]


def tiny_tokenizer() -> Tokenizer:
    """Return a tokenizer of single bytes with two special tokens: so that templates have a BOS and an EOS to write."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(list(_SPECIAL.values()))
    return made


@dataclass(frozen=True)
class Subject:
    """A template, and what transformers makes of it."""

    found: Found
    way: Way  # one that gives a whole conversation, with the image where there is one that keeps it
    keeps_image: bool  # of itself, from a part of type image

    @property
    def source(self) -> str:
        """The Jinja."""
        return self.found.source


@dataclass
class Verdict:
    """What became of one conversation."""

    wrong: list[str] = field(default_factory=list)  # reasons; empty: all right
    refused: str = ""  # the error of ours that it ended in
    equal: bool = False  # the text is transformers' to the byte
    scaffold: bool = False  # the places were known beforehand, not only the order
    edges: bool = True  # blanks at the edges of a text that the template kept are in its span
    notes: tuple[str, ...] = ()


def examined(found: Found) -> Subject | None:
    """Return a template with the way in which it writes a whole conversation; None where none was found."""
    first: Way | None = None
    for way in oracle.ways((f"{IMAGE_TEXT}\n",)):
        if first is not None and way.context:
            break  # the odd contexts are only for those that nothing else opens
        text = _rendered(found.source, _NATURAL, way)
        if text is None or not oracle.whole(text, _NATURAL):
            continue
        if way.has_parts and text != _rendered(found.source, _NATURAL, way, image=False):
            return Subject(found, way, keeps_image=True)
        first = first or way
    return None if first is None else Subject(found, first, keeps_image=False)


def _rendered(source: str, talk: Talk, way: Way, *, image: bool = True) -> str | None:
    try:
        return oracle.render(source, talk, way, image=image, special=_SPECIAL)
    except Exception:  # noqa: BLE001 - a template raises what it likes
        return None


def renderer_for(subject: Subject, tokenizer: Any, **options: Any) -> ChatRenderer:
    """Return our renderer for a template; one that has no word for an image is given ``<image>``."""
    image = {} if subject.keeps_image else {"image": IMAGE_TEXT}
    return ChatRenderer(tokenizer, template=subject.source, date=oracle.DATE.date().isoformat(), **image, **options)


def asks_for_image(subject: Subject, tokenizer: Any) -> bool:
    """Whether a template without a word for an image makes ours ask for one by name, and lose none silently."""
    try:
        ChatRenderer(tokenizer, template=subject.source).render(_NATURAL.row)
    except SvitError as error:
        return "image" in str(error)
    return False


def check(subject: Subject, renderer: ChatRenderer, talk: Talk) -> Verdict:
    """Render one conversation and judge it."""
    try:
        rendered = renderer.render(talk.row)
    except SvitError as error:
        return Verdict(refused=f"{type(error).__name__}: {' '.join(str(error).split())}")
    except Exception as error:  # noqa: BLE001 - any other is a fault of ours
        return Verdict(wrong=[f"{type(error).__name__}: {error}"])
    verdict = Verdict(notes=rendered.notes)
    way = _same_way(subject, talk, rendered)
    verdict.equal = way is not None
    if way is not None and oracle.has_tags(subject.source):
        _, tagged = oracle.mask_spans(subject.source, talk, way, special=_SPECIAL)
        if [tuple(span) for span in rendered.generation] != [span for span in tagged if span[1] > span[0]]:
            verdict.wrong.append("what generation tags enclose is not what transformers tracks")
    _judge_image(verdict, rendered, talk)
    roles = [turn.role for turn in rendered.turns]
    if roles != ["user", "assistant"] * len(talk.answers):
        verdict.wrong.append(f"turns are {' '.join(roles)}")
        return verdict
    expected = _expected(subject, rendered, talk)
    verdict.scaffold = expected is not None
    if expected is not None:
        _judge_places(verdict, rendered, talk, expected)
    else:
        _judge_order(verdict, rendered, talk)
    return verdict


def _same_way(subject: Subject, talk: Talk, rendered: Rendered) -> Way | None:
    """Return the way of giving the same messages to transformers that makes it write the same text, if there is one."""
    texts = {rendered.text[start:stop] for start, stop in rendered.images} or {""}
    fronts = tuple(text + gap for text in sorted(texts) for gap in ("\n", "", " "))
    likely = [subject.way, *oracle.ways(fronts)]
    return next((way for way in likely if _rendered(subject.source, talk, way) == rendered.text), None)


def _judge_image(verdict: Verdict, rendered: Rendered, talk: Talk) -> None:
    if len(rendered.images) != 1:
        verdict.wrong.append(f"{len(rendered.images)} images instead of 1")
        return
    start, stop = rendered.images[0]
    text = rendered.text[start:stop]
    in_texts = sum(said.count(text) for said in talk.texts) if text else 0
    if not text.strip():
        verdict.wrong.append("the image is nothing")
    elif rendered.text.count(text) != 1 + in_texts:
        verdict.wrong.append(f"{rendered.text.count(text) - in_texts} times {text!r} instead of once")
    elif rendered.turns and rendered.turns[0].end < stop:
        verdict.wrong.append("the image is not in the first question")


def _expected(subject: Subject, rendered: Rendered, talk: Talk) -> list[tuple[int, int]] | None:
    """Return where each message stands, by the scaffold of another conversation; None where this one's is different."""
    image = "".join(rendered.text[start:stop] for start, stop in rendered.images[:1])
    forms = [subject.way] if subject.way.has_parts else list(oracle.ways((f"{image}\n", image)))[:2]
    for way in forms:
        natural = _rendered(subject.source, _NATURAL, way)
        scaffold = None if natural is None else _between(natural, [text.strip() for text in _NATURAL.texts])
        if scaffold is None:
            continue
        for users, assistants in product((str.strip, str), repeat=2):
            texts = [(users, assistants)[number % 2](text) for number, text in enumerate(talk.texts)]
            text, places = _interleaved(scaffold, texts)
            if text == rendered.text:
                return places
    return None


def _between(text: str, texts: Sequence[str]) -> list[str] | None:
    """Return what stands before, between and behind texts that each occur once."""
    places = [(text.find(said), text.find(said) + len(said)) for said in texts]
    if any(text.count(said) != 1 for said in texts) or places != sorted(places):
        return None
    cuts = [(0, 0), *places, (len(text), len(text))]
    return [text[stop:start] for (_, stop), (start, _) in pairwise(cuts)]


def _interleaved(scaffold: Sequence[str], texts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    pieces, places, at = [scaffold[0]], [], len(scaffold[0])
    for said, behind in zip(texts, scaffold[1:], strict=True):
        places.append((at, at + len(said)))
        pieces += said, behind
        at += len(said) + len(behind)
    return "".join(pieces), places


def _judge_places(verdict: Verdict, rendered: Rendered, talk: Talk, expected: list[tuple[int, int]]) -> None:
    for number, (turn, (start, stop), said) in enumerate(zip(rendered.turns, expected, talk.texts, strict=True)):
        blanks = len(said) - len(said.lstrip()), len(said) - len(said.rstrip())
        kept = stop - start == len(said)
        core = (start + blanks[0], stop - blanks[1]) if kept else (start, stop)
        begin = _words_of(rendered, number)
        if (begin, turn.end) != (start, stop):
            verdict.edges = False
            if (begin, turn.end) != core:
                verdict.wrong.append(f"message {number + 1} is at {begin}:{turn.end}, not {start}:{stop}")
        if not _is_data(rendered, *core):
            verdict.wrong.append(f"message {number + 1} at {core} is not all in the row's own text")
        _judge_stop(verdict, rendered, number)
    inside = sum(stop - start for start, stop in rendered.data)
    if inside > sum(stop - start for start, stop in expected):
        verdict.wrong.append("some of the template's own text counts as the row's")


def _words_of(rendered: Rendered, number: int) -> int:
    """Return where a message's words begin; the turn of the first one holds the image, and what is between, too."""
    turn = rendered.turns[number]
    if not any(turn.start <= start < turn.end for start, _ in rendered.images):
        return turn.start
    return next((start for start, stop in rendered.data if turn.start <= start and stop == turn.end), turn.start)


def _is_data(rendered: Rendered, start: int, stop: int) -> bool:
    return sum(max(0, min(stop, end) - max(start, begin)) for begin, end in rendered.data) == stop - start


def _judge_order(verdict: Verdict, rendered: Rendered, talk: Talk) -> None:
    """Judge where the scaffold is not known: unique questions in order, one answer in each gap, and spans on them."""
    text, at = rendered.text, 0
    for number, (turn, said) in enumerate(zip(rendered.turns, talk.texts, strict=True)):
        begin = _words_of(rendered, number)
        core, there = said.strip(), text[begin : turn.end].strip()
        if "</think>" in core and "".join(there.split()) == "".join(core.split()):
            core = there  # a template may set blanks round a thought anew
        elif "</think>" in core and there != core and rendered.notes:  # or leave it out, if that is told
            core = core.rpartition("</think>")[2].strip() or core.removesuffix("</think>").strip()
            there = there[-len(core) :]
        if turn.start < at:
            verdict.wrong.append(f"message {number + 1} begins before the one before it ends")
        if there != core:
            verdict.wrong.append(f"message {number + 1} is {text[begin : turn.end]!r}")
        if number % 2 == 0 and text.count(core) != 1:
            verdict.wrong.append(f"question {number // 2 + 1} stands there {text.count(core)} times")
        if number % 2:
            behind = rendered.turns[number + 1].start if number + 1 < len(rendered.turns) else len(text)
            gap = text[rendered.turns[number - 1].end : behind]
            if gap.count(core) != 1:
                verdict.wrong.append(f"answer {number // 2 + 1} stands {gap.count(core)} times behind its question")
        at = turn.end
        _judge_stop(verdict, rendered, number)


def _judge_stop(verdict: Verdict, rendered: Rendered, number: int) -> None:
    """The end of a turn lies behind its content and before the next message."""
    turn = rendered.turns[number]
    behind = rendered.turns[number + 1].start if number + 1 < len(rendered.turns) else len(rendered.text)
    if not turn.end <= turn.stop_end <= behind:
        verdict.wrong.append(f"turn {number + 1} stops at {turn.stop_end}, outside {turn.end}:{behind}")
