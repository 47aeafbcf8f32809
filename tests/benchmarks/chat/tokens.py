"""Templates and real tokenizers in; whether every learned run of ids decodes to its answer, whole and in one piece.

Read off the ids alone: offsets, which masks are made of, are not asked. A literal of a control token in what is said
must not become one: the control ids of a chat that quotes them are those of a chat that does not.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from svit_datasets.chat import ChatRenderer
from svit_datasets.errors import SvitError
from tests import tokenizer_packages
from tests.benchmarks.chat.check import renderer_for
from tests.benchmarks.chat.conversations import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.benchmarks.chat.check import Subject
    from tests.benchmarks.chat.conversations import Talk

__all__ = [
    "TALKS",
    "Real",
    "Tally",
    "mistral_tokenizers",
    "runs",
    "tallied",
    "tallied_alone",
    "tiktoken_one",
    "tokenizer",
]

TALKS = tuple(KINDS[name] for name in ("natural", "duplicated", "contained", "whitespace", "injected"))
_CL100K = (  # the pattern that tiktoken publishes for cl100k_base
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"""
    r"""\s+(?!\S)|\s"""
)
_MISTRAL = {
    "v1": ("v1", {}),
    "v2": ("v2", {}),
    "v3": ("v3", {}),
    "v7": ("v7", {}),
    "v7_vision": ("v7", {"is_mm": True}),
    "tekken": ("v3", {"is_tekken": True}),
    "tekken_vision": ("v3", {"is_tekken": True, "is_mm": True}),
}


@dataclass(frozen=True)
class Real:
    """A tokenizer out of a package."""

    name: str
    tokenizer: Any  # what ChatRenderer is made of
    decode: Callable[[list[int]], str]
    controls: frozenset[int]  # ids of control tokens


@dataclass
class Tally:
    """What was seen with one tokenizer."""

    name: str
    chats: int = 0
    spans: int = 0  # answers, each of which should be one run of learned ids
    whole: int = 0  # that decode to all of their answer
    exact: int = 0  # of these: nothing but blanks in front of it
    warned: int = 0  # templates that write control tokens the tokenizer has not
    refused: Counter[str] = field(default_factory=Counter)  # error -> chats
    wrong: list[str] = field(default_factory=list)

    def refuse(self, error: SvitError, chats: int = 1) -> None:
        """Count an error of ours."""
        self.refused[f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]] += chats


# -- tokenizers --------------------------------------------------------------------------------------------------------


def tokenizer(name: str) -> Real | None:
    """Return a tokenizer of a package as transformers holds it, or None where its registry cannot be reached.

    What its configuration names no BOS or EOS for gets one of its special tokens, as templates ask for both.
    """
    try:
        folder = tokenizer_packages.folder(name)
    except pytest.skip.Exception:
        return None
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    special = [token.content for token in made.get_added_tokens_decoder().values() if token.special]
    roles = {}
    for role, other in (("bos_token", special[0]), ("eos_token", special[-1])):
        named = config.get(role)
        named = named.get("content") if isinstance(named, dict) else named
        roles[role] = named if isinstance(named, str) and made.token_to_id(named) is not None else other
    fast = PreTrainedTokenizerFast(tokenizer_object=made, **roles)
    added = made.get_added_tokens_decoder().items()
    # An added token of one letter, a word or blanks is vocabulary; those with markup steer the model.
    controls = {index for index, token in added if len(token.content.strip("\t\n\r ▁")) > 1}
    plain = {index for index, token in added if not token.special and token.content.isalnum()}
    return Real(name, fast, lambda ids: made.decode(ids, skip_special_tokens=False), frozenset(controls - plain))


def tiktoken_one() -> Real | None:
    """Return cl100k_base of tiktoken, its ranks out of a package, with the control tokens of ChatML."""
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    try:
        ranks = load_tiktoken_bpe(str(tokenizer_packages.ranks()))
    except pytest.skip.Exception:
        return None
    special = {"<|endoftext|>": 100257, "<|im_start|>": 100264, "<|im_end|>": 100265, "</s>": 100270, "<s>": 100271}
    made = tiktoken.Encoding("cl100k_base", pat_str=_CL100K, mergeable_ranks=ranks, special_tokens=special)
    return Real("tiktoken cl100k_base", made, made.decode, frozenset(special.values()))


def mistral_tokenizers() -> Iterator[Real]:
    """Yield the seven tokenizers inside mistral-common."""
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    for name in tokenizer_packages.MISTRAL:
        version, options = _MISTRAL[name]
        made = getattr(MistralTokenizer, version)(**options)
        inner = made.instruct_tokenizer.tokenizer  # its decode leaves control tokens out, and makes text of bytes
        count = getattr(inner, "num_special_tokens", None)  # tekken puts them first
        controls = (
            range(count) if count else (index for index in range(inner.n_words) if inner._model.is_control(index))
        )
        yield Real(f"mistral-common {name}", made, inner.decode, frozenset(controls))


# -- masks -------------------------------------------------------------------------------------------------------------


def tallied(real: Real, subjects: Iterable[Subject]) -> Tally:
    """Encode the conversations with every template.

    The encoder is made once: a text that quotes control tokens takes a copy of the tokenizer, a second each.
    """
    tally = Tally(real.name)
    encoder = ChatRenderer(real.tokenizer, template="chatml").target.encoder
    for subject in subjects:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                renderer = renderer_for(subject, real.tokenizer)
            except SvitError as error:
                tally.refuse(error, len(TALKS))
                continue
            renderer.target = replace(renderer.target, encoder=encoder)
            _all(tally, real, renderer, subject.found.name, lambda talk: talk.row)
        tally.warned += any("do template and tokenizer belong together" in str(one.message).lower() for one in told)
    return tally


def tallied_alone(real: Real) -> Tally:
    """Encode the conversations, without image, with a tokenizer that has a template of its own."""
    tally = Tally(real.name)
    _all(tally, real, ChatRenderer(real.tokenizer), "its own template", lambda talk: {**talk.row, "image": None})
    return tally


def _all(tally: Tally, real: Real, renderer: ChatRenderer, name: str, row: Callable[[Talk], dict[str, Any]]) -> None:
    controls: dict[str, Counter[int]] = {}
    for talk in TALKS:
        try:
            encoded = renderer.encode(row(talk))
        except SvitError as error:
            tally.refuse(error)
            continue
        except Exception as error:  # noqa: BLE001 - any other is a fault of ours
            tally.wrong.append(f"{name}, {talk.kind}: {type(error).__name__}: {error}")
            continue
        tally.chats += 1
        for reason in _judged(tally, real, talk, encoded):
            tally.wrong.append(f"{name}, {talk.kind}: {reason}")
        controls[talk.kind] = Counter(token for token in encoded["input_ids"] if token in real.controls)
    if "injected" in controls and "natural" in controls and controls["injected"] != controls["natural"]:
        more, less = controls["injected"] - controls["natural"], controls["natural"] - controls["injected"]
        tally.wrong.append(f"{name}: control ids of the injected chat: {dict(more)} more, {dict(less)} less")


def _judged(tally: Tally, real: Real, talk: Talk, encoded: dict[str, list[int]]) -> Iterator[str]:
    ids, mask, labels = encoded["input_ids"], encoded["assistant_mask"], encoded["labels"]
    tally.spans += len(talk.answers)
    if not len(ids) == len(mask) == len(labels) == len(encoded["attention_mask"]):
        yield "lists of different lengths"
    if [token if learned else -100 for token, learned in zip(ids, mask, strict=True)] != labels:
        yield "labels are not the learned ids"
    found = runs(mask)
    if len(found) != len(talk.answers):
        yield f"{len(found)} runs for {len(talk.answers)} answers"
        return
    for number, ((first, behind), answer) in enumerate(zip(found, talk.answers, strict=True), start=1):
        before, core, _ = real.decode(ids[first:behind]).partition(answer.strip())
        if core:
            tally.whole += 1
            tally.exact += not before.strip()
        else:
            yield f"run {number} decodes to {before!r}"


def runs(mask: Sequence[int]) -> list[tuple[int, int]]:
    """Return (first, behind the last) of each run of ones.

    Example:
        >>> runs([0, 1, 1, 0, 1])
        [(1, 3), (4, 5)]
    """
    found, at = [], 0
    for learned, group in groupby(mask):
        size = len(list(group))
        if learned:
            found.append((at, at + size))
        at += size
    return found
