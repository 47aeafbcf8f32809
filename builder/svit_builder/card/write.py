"""Writes the card: the files' facts in, `README.md` and `croissant.json` out."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import DatasetCard

from svit_builder.card.body import body_values
from svit_builder.card.croissant import croissant_json
from svit_builder.card.facts import read_facts
from svit_builder.card.figures import kept_statistics
from svit_builder.card.metadata import card_data
from svit_datasets.cache import write_atomically
from svit_datasets.errors import BuildError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from svit_builder.stats import Statistics

__all__ = ["CARD", "CROISSANT", "is_ours", "write_card"]

CARD, CROISSANT = "README.md", "croissant.json"
_BEGIN = "<!-- Words of the curator: what stands between here and the next mark stays when the card is made again. -->"
_END = "<!-- End of the curator's words. -->"
_MARKED = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)


def write_card(
    root: str | os.PathLike[str],
    *,
    repo_id: str | None = None,
    statistics: Iterable[Statistics] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Write `README.md` and `croissant.json` into a built folder, and return the former's path.

    The same folder gives the same bytes. What stands between the two marks for the curator's own words stays.

    Args:
        root: the folder, with its `manifest.json`.
        repo_id: ``ORG/NAME`` where it will be published: the card then says how to load it from there. Without one it
            says how to load the folder.
        statistics: of configurations, by `svit_builder.stats.measure`, for a table of them; () leaves it out. None
            measures them, about 25 µs an answer, and keeps them in the cache for the next time.
        cache_dir: the cache.

    Raises:
        SourceNotFound: as in `read_facts`.
        BuildError: as in `read_facts`; or a `README.md` is there that was not made here, or whose marks were changed.
        CacheError: the folder cannot be written.
    """
    folder = Path(root).expanduser()
    facts = read_facts(folder)
    card = folder / CARD
    measured = kept_statistics(folder, facts, cache_dir) if statistics is None else tuple(statistics)
    values = body_values(facts, name=repo_id or folder.resolve().name, repo_id=repo_id, statistics=measured)
    data = card_data(facts)
    template = files("svit_builder.card").joinpath("card.md.jinja").read_text("utf-8")
    made = DatasetCard.from_template(data, template_str=template, curator=_curator(card), **values)
    _write(card, f"{str(made).rstrip()}\n".encode())
    _write(folder / CROISSANT, croissant_json(facts, repo_id).encode())
    return card


def _write(path: Path, data: bytes) -> None:
    """Write a file, unless it holds just that: somebody may be publishing it."""
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)


def is_ours(card: Path) -> bool:
    """Tell whether a card was made here, so that it may be made again."""
    return card.is_file() and _MARKED.search(card.read_text("utf-8", "replace")) is not None


def _curator(card: Path) -> str:
    """Return the two marks, with the words that stand between them in the card that is there."""
    try:
        found = card.read_text("utf-8")
    except FileNotFoundError:
        return f"{_BEGIN}\n\n{_END}"
    kept = _MARKED.search(found)
    if kept is None:
        raise BuildError(
            f"{card}: was not made here, or its two marks for the curator's own words were changed, and would be lost. "
            f"Move it away and make the card again; then put your words between the marks {_BEGIN!r} and {_END!r}."
        )
    return kept[0]
