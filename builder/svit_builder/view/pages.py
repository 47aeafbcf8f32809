"""What is to be shown in, a page of HTML out; the same page for a browser and for a file.

Templates lie beside this module, and escape all they are given: every text of a dataset is somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from svit_builder.view.pieces import blocks_of, chat_of, plain
from svit_builder.view.search import tidy

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from svit_builder.view.links import Links
    from svit_builder.view.loss import Templates
    from svit_builder.view.pieces import Run
    from svit_builder.view.search import Found, Reached
    from svit_builder.view.shelf import Place, Shelf
    from svit_datasets.boxes import Box
    from svit_datasets.rows import Row

__all__ = ["ASSETS", "POLICY", "Pages", "asset", "has_photo", "title_of"]

_HERE = Path(__file__).parent
ASSETS = {
    "view.css": "text/css",
    "keys.js": "text/javascript",
    "boxes.js": "text/javascript",
    "found.js": "text/javascript",
}
POLICY = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'self'"
_TEASER = 160  # characters
_TONES = 7


def asset(name: str) -> bytes:
    """Return the file of that name among ``ASSETS``."""
    assert name in ASSETS
    return (_HERE / name).read_bytes()


@dataclass(frozen=True)
class Pages:
    """Writes pages of a dataset."""

    shelf: Shelf
    templates: Templates
    static: bool = False  # files: without what needs a server

    def gallery(self, links: Links, config: str, at: Place) -> str:
        """Return a page of the gallery."""
        rows = list(self.shelf.texts(config, at.start, at.stop))
        return self._page("gallery.html", links, config, at=at, rows=rows)

    def row(self, links: Links, config: str, number: int, *, query: str = "", preset: str = "") -> str:
        """Return the page of a row.

        Args:
            links: from that page.
            config: the configuration.
            number: of the row.
            query: what a search looked for.
            preset: one of ``templates.names``; another, such as "", leaves the rendered text folded.
        """
        shown, query = self.shelf.shown(config, number), tidy(query)
        at = self.shelf.gallery_of(config, number)
        row, chosen = shown.row, preset in self.templates.names
        preset = preset if chosen else self.templates.default
        annotated, annotations_trouble = self.shelf.annotated(int(self.shelf.data(config).image_ids[number]))
        first, behind = at.split.first, at.split.first + at.split.shown
        return self._page(
            "row.html",
            links,
            config,
            query=query,
            at=at,
            number=number,
            row=row,
            picture=shown.picture,
            trouble=shown.trouble,
            chat=chat_of(row, self.shelf.data(config).task, query),
            before=number - 1 if number > first else None,
            after=number + 1 if number + 1 < behind else None,
            coloured=self.templates.coloured(preset, row),
            presets=self.templates.names,
            preset=preset,
            chosen=chosen,
            annotated=annotated,
            annotations_given=self.shelf.annotations is not None,
            annotations_trouble=annotations_trouble,
            objects=_keyed("object", [(one.name, one.box) for one in annotated.objects] if annotated else []),
            regions=_keyed("region", [(one.text, one.box) for one in annotated.regions] if annotated else []),
        )

    def found(
        self,
        links: Links,
        config: str,
        query: str,
        hits: Iterable[Found | Reached],
        *,
        start: int = 0,
        indexed: bool = False,
    ) -> Generator[str]:
        """Yield a page of search results, piece by piece as rows are found."""
        values = {"hits": hits, "start": start, "rows": len(self.shelf.data(config)), "indexed": indexed}
        yield from self._template("found.html").generate(self._values(links, config, query=query, **values))

    def broken_off(self, words: str) -> str:
        """Return the end of a page of results that could not be read to its end."""
        return str(Markup('</ol><p class="trouble searched" role="alert">{}</p>').format(words))

    def stats(self, links: Links, config: str, **values: Any) -> str:
        """Return a configuration's statistics; for the values see `figures`."""
        return self._page("stats.html", links, config, **values)

    def error(self, links: Links, title: str, words: str, config: str = "") -> str:
        """Return a page that says what went wrong."""
        return self._page("error.html", links, config, title=title, words=words)

    def _page(self, name: str, links: Links, config: str, **values: Any) -> str:
        text: str = self._template(name).render(self._values(links, config, **values))
        return text

    def _template(self, name: str) -> Any:
        return _ENVIRONMENT.get_template(name)

    def _values(self, links: Links, config: str, **values: Any) -> dict[str, Any]:
        known = (
            {}
            if not config or "title" in values
            else {
                "summary": self.shelf.data(config).task.summary,
                "splits_of": self.shelf.splits(config),
            }
        )
        return {
            "place": PurePath(self.shelf.place).name if self.static else self.shelf.place,  # files go to others
            "configs": [(name, self.shelf.size(name)) for name in self.shelf.configs],
            "links": links,
            "config": config,
            "query": "",
            "static": self.static,
            "policy": POLICY if self.static else "",  # a server sends it as a header
            **known,
            **values,
        }


def _keyed(kind: str, named: Sequence[tuple[str, Box]]) -> list[SimpleNamespace]:
    return [SimpleNamespace(key=f"{kind}-{at}", name=name, box=box) for at, (name, box) in enumerate(named, start=1)]


# What templates ask of values -----------------------------------------------------------------------------------------


def _number(value: int) -> str:
    return f"{value:,}"


def title_of(row: Row) -> str:
    """Return what a row is called on its page."""
    return f"image {row['image_id']}" if "image_id" in row else str(row["id"])


def has_photo(row: Row) -> bool:
    """Return whether a row should have a photo: a LLaVA-form record may be text only."""
    return "image_path" not in row or row["image_path"] is not None


def _qas(row: Row) -> str:
    answers = sum(message["role"] == "assistant" for block in blocks_of(row) for message in block["messages"])
    return f"{answers} QA{'s' * (answers != 1)}"


def _teaser(row: Row) -> tuple[Run, ...]:
    texts = (message["content"] for block in blocks_of(row) for message in block["messages"])
    text = " ".join(plain(next(texts, "")).replace("<image>", "").split())
    return ((text if len(text) <= _TEASER else text[:_TEASER].rsplit(" ", 1)[0] + " …", False),)


def _pages(at: Place) -> list[int | None]:
    """Return the numbers of pages to be linked, None for those between."""
    last = at.split.pages
    near = {1, last, *range(max(1, at.page - 1), min(last, at.page + 1) + 1)}
    shown: list[int | None] = []
    for page in sorted(near):
        if shown and shown[-1] is not None and page - shown[-1] > 1:
            shown.append(page - 1 if page - shown[-1] == 2 else None)
        shown.append(page)
    return shown


def _share(number: int, rows: int) -> str:
    return f"{100 * number / max(rows, 1):.2f}%"


def _edges(box: Box) -> Markup:
    """Return a rectangle's attributes, in shares of the picture, whatever its size on the screen."""
    width, height = box.x2 - box.x1, box.y2 - box.y1
    return Markup('x="{:.3%}" y="{:.3%}" width="{:.3%}" height="{:.3%}"').format(box.x1, box.y1, width, height)


def _corner(box: Box) -> Markup:
    """Return the attributes of a label: inside the box, at an upper corner from where it runs into the picture."""
    if box.x1 < 2 / 3:
        return Markup('x="{:.3%}" y="{:.3%}" dx="5" dy="14"').format(box.x1, box.y1)
    return Markup('x="{:.3%}" y="{:.3%}" dx="-5" dy="14" text-anchor="end"').format(box.x2, box.y1)


def _large_first(boxes: Iterable[Any]) -> list[Any]:
    """Return boxes in the order to draw them: a small one lies on top, where a pointer reaches it."""
    return sorted(boxes, key=lambda one: -(one.box.x2 - one.box.x1) * (one.box.y2 - one.box.y1))


def _tone(number: int) -> int:
    return (number - 1) % _TONES + 1


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters.update(
    number=_number,
    title=title_of,
    has_photo=has_photo,
    qas=_qas,
    teaser=_teaser,
    pages=_pages,
    share=_share,
    edges=_edges,
    corner=_corner,
    large_first=_large_first,
    tone=_tone,
)
