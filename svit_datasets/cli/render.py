"""``svit render``: a row as a model will read it: the text, what of it is learned, and what it costs in tokens."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

import svit_datasets
from svit_datasets.boxes import CONVENTIONS
from svit_datasets.chat import ChatRenderer
from svit_datasets.chat.encode import SCOPES, answers, token_range
from svit_datasets.cli.output import hint, label_lines, print_json, shown
from svit_datasets.cli.rows import row_lines
from svit_datasets.errors import OptionError
from svit_datasets.sample import write_sample
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from svit_datasets.chat import Rendered, Span

__all__ = ["command", "painted", "wants_color"]

_IMAGES = 16  # scenes that are drawn where no corpus is named
_LEARNED = ("»", "«")  # round an answer where there is no colour; both are in every Latin code page


@click.command(name="render")
@click.argument("config", type=click.Choice(list(TASKS)))
@click.option(
    "--tokenizer",
    required=True,
    metavar="PATH|PRESET",
    help="Folder of a model, a Jinja file, or a preset such as vicuna_v1 or chatml.",
)
@click.option("--template", metavar="NAME|PATH", help="Another chat template: one of the folder's, a preset, a file.")
@click.option("--data-dir", help="Folder or URL with your files; without it a few scenes are drawn.")
@click.option("--images", multiple=True, help="Where the photos are: folder, zip or URL template; may be repeated.")
@click.option("--index", type=click.IntRange(min=0), default=0, show_default=True, help="Which row, from 0.")
@click.option(
    "--rows",
    type=click.Choice(["image", "conversation"]),
    default="image",
    show_default=True,
    help="What a row is: an image with all its conversations in one chat, or one conversation.",
)
@click.option(
    "--on-missing-image",
    type=click.Choice(["error", "skip", "null"]),
    default="error",
    show_default=True,
    help="What becomes of a row whose photo is nowhere: an error, left out, or rendered without image.",
)
@click.option("--image", metavar="TOKEN", help="What stands for the image, where the template has no word for it.")
@click.option("--max-turns", type=click.IntRange(min=1), help="At most so many rounds of question and answer.")
@click.option(
    "--boxes",
    type=click.Choice(CONVENTIONS),
    default="svit",
    show_default=True,
    help="How boxes in the text are written.",
)
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="reply",
    show_default=True,
    help="What is learned: answers with their end token, answers alone, or what the template marks.",
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colours instead of marks; auto: on a terminal, unless NO_COLOR is set.",
)
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object, with places in characters of the text.")
def command(
    config: str,
    *,
    tokenizer: str,
    template: str | None,
    data_dir: str | None,
    images: tuple[str, ...],
    index: int,
    rows: str,
    on_missing_image: str,
    image: str | None,
    max_turns: int | None,
    boxes: str,
    scope: str,
    color: str,
    as_data: bool,
) -> None:
    """Print a row of CONFIG as the chat a model will read, with what is learned of it marked.

    \b
    Examples:
      svit render complex_reasoning --tokenizer vicuna_v1
      svit render conversation --tokenizer ./my-model --data-dir /data/svit --index 3
      svit render referring_qa --tokenizer chatml --boxes qwen2_5_vl --rows conversation
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    renderer = ChatRenderer(
        tokenizer, template=template, image=image or "auto", scope=scope, max_turns=max_turns, boxes=boxes
    )
    row = _row(config, index, data_dir, images=images or None, rows=rows, on_missing_image=on_missing_image)
    rendered = renderer.render(row)
    learned = answers(rendered, scope)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        tokens = _tokens(renderer, rendered, row)
    notes = [*rendered.notes, *(str(one.message) for one in warned)]
    if as_data:
        turns = [turn._asdict() for turn in rendered.turns]
        places = {"images": rendered.images, "data": rendered.data, "learned": learned}
        print_json({"text": rendered.text, "turns": turns, **places, "notes": notes, "tokens": tokens})
        return
    in_color = wants_color(color)
    title = next(row_lines(row))
    text = painted(rendered, learned, in_color=in_color)
    click.echo("\n".join([title, text, "", *_summary(rendered, tokens, notes)]), color=in_color)
    if tokens is None:
        hint("the folder of a model as --tokenizer counts tokens too; svit templates says more of a template")
        return
    options = {"template": template, "image": image, "max_turns": max_turns, "boxes": boxes, "scope": scope}
    usual = {"template": None, "image": None, "max_turns": None, "boxes": "svit", "scope": "reply"}
    given = [f", {name}={value!r}" for name, value in options.items() if value != usual[name]]
    hint(f"ds.map(ChatRenderer({tokenizer!r}{''.join(given)}).encode)")


def wants_color(color: str) -> bool:
    """Tell whether to use colours: "always", "never", or "auto", on a terminal unless NO_COLOR is set."""
    return color == "always" or (color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))


def painted(rendered: Rendered, learned: Sequence[Span], *, in_color: bool) -> str:
    """Return the text of a chat with what is learned between marks, or in colour with the template's own text dim.

    Args:
        rendered: the chat.
        learned: characters of its text, in order and apart.
        in_color: colours and no marks; else marks and no colours.
    """
    cuts = {0, len(rendered.text)}
    for spans in (learned, rendered.images, rendered.data):
        cuts.update(at for span in spans for at in span)
    ordered = sorted(cuts)
    pieces = []
    for start, stop in pairwise(ordered):
        piece = shown(rendered.text[start:stop])
        if in_color:
            pieces.append(click.style(piece, **_look(rendered, learned, start)))
            continue
        opens = any(span.start == start for span in learned)
        closes = any(span.stop == stop for span in learned)
        pieces.append(f"{_LEARNED[0] * opens}{piece}{_LEARNED[1] * closes}")
    return "".join(pieces)


def _look(rendered: Rendered, learned: Sequence[Span], at: int) -> dict[str, Any]:
    def within(spans: Sequence[Span]) -> bool:
        return any(start <= at < stop for start, stop in spans)

    if within(rendered.images):
        return {"fg": "magenta", "bold": True}
    if within(learned):
        return {"fg": "green", "bold": True}
    return {} if within(rendered.data) else {"dim": True}


def _summary(rendered: Rendered, tokens: dict[str, int] | None, notes: Sequence[str]) -> list[str]:
    roles = [turn.role for turn in rendered.turns]
    turns = ", ".join(f"{roles.count(role)} of the {role}" for role in dict.fromkeys(roles))
    lines = label_lines("turns", turns)
    if tokens is None:
        lines += label_lines("tokens", f"not counted: no tokenizer; {len(rendered.text):,} characters")
    else:
        words = f"{tokens['total']:,}; {tokens['learned']:,} of them learned, {tokens['image']:,} for the image"
        lines += label_lines("tokens", words)
    for number, note in enumerate(notes):
        lines += label_lines("" if number else "notes", note)
    return lines


def _tokens(renderer: ChatRenderer, rendered: Rendered, row: dict[str, Any]) -> dict[str, int] | None:
    """Count tokens; None where there is only a template. The image counts as its placeholder, before any processor."""
    encoder = renderer.target.encoder
    if encoder is None:
        return None
    encoded = renderer.encode(row)
    ids, offsets = encoder.encode(rendered.text, rendered.data)
    image = 0
    for start, stop in rendered.images:
        if offsets is None:
            image += len(encoder.encode(rendered.text[start:stop], [])[0])
        else:
            first, behind = token_range(offsets, start, stop)
            image += behind - first
    del ids
    return {"total": len(encoded["input_ids"]), "learned": sum(encoded["assistant_mask"]), "image": image}


def _row(config: str, index: int, data_dir: str | None, **options: Any) -> dict[str, Any]:
    """Return a row as it loads, its photo undecoded."""
    with _corpus(data_dir) as (folder, cache):
        dataset: Any = svit_datasets.load_dataset(
            "svit", config, split="train", streaming=True, holdout=None, data_dir=folder, cache_dir=cache, **options
        )
        for row in dataset.decode(False).skip(index).take(1):
            found: dict[str, Any] = row
            return found
    raise OptionError(f"--index {index} is beyond the last row of {config}. Give a smaller one; the first is 0.")


@contextmanager
def _corpus(data_dir: str | None) -> Iterator[tuple[str | Path, Path | None]]:
    """Give the folder with the files and that of the cache; where none is named, a corpus that is drawn and deleted."""
    if data_dir is not None:
        yield data_dir, None
        return
    with TemporaryDirectory(prefix="svit-render-", ignore_cleanup_errors=True) as folder:
        click.echo(f"No --data-dir: drawing {_IMAGES} scenes in the layout of the real files …", err=True)
        yield write_sample(Path(folder, "svit"), images=_IMAGES).root, Path(folder, "cache")
