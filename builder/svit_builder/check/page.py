"""A report in, one HTML page out that needs nothing else: plots are SVG, photos small JPEGs, both inside the page.

Texts of the dataset are untrusted and come out escaped, whatever they hold; the page has no script.
"""

from __future__ import annotations

import base64
import io
import logging
from collections import Counter
from contextlib import suppress
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from svit_builder.check.table import CHECKS
from svit_datasets.boxes import parse
from svit_datasets.decode import decoder_for
from svit_datasets.errors import BadImage, SvitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from svit_builder.check.examine import Example, Findings
    from svit_builder.check.run import Report
    from svit_builder.data import Data

__all__ = ["Thumbnails", "page", "thumbnails"]

Thumbnails = dict[tuple[str, str, int], str]  # configuration, check, number of the example -> data URI

_SIDE = 240  # pixels of a photo's longer side
_BARS = 24
_USUAL = 0.995  # of answers are no longer than the scale
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.example { display: flex; gap: 1rem; margin: .6rem 0 1rem; }
.example img { max-width: 15rem; height: auto; align-self: flex-start; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; margin: .1rem 0; }
.where, .detail { color: #767676; font-size: .87em; }
svg { max-width: 100%; height: auto; }
summary { cursor: pointer; }
"""


_log = logging.getLogger(__name__)


def thumbnails(data: Data, found: Findings) -> Thumbnails:
    """Return small photos of the examples, good boxes of their texts drawn in; those that cannot be had are missing."""
    wanted = [(check, at, one) for check, some in found.examples.items() for at, one in enumerate(some)]
    photos: dict[int, Image.Image] = {}
    try:
        for number, row in data.rows(sorted({one.row for _, _, one in wanted})):
            if row["image"] is not None:
                with suppress(BadImage):
                    photos[number] = _small(row["image"])
    except SvitError as error:  # where photos are cannot be reached: the report is of the texts
        _log.warning("%s: examples are shown without photos. %s", data.place, error)
    return {
        (found.config, check, at): _with_boxes(photos[one.row], one) for check, at, one in wanted if one.row in photos
    }


def _small(data: bytes) -> Image.Image:
    image: Image.Image = decoder_for("pil")(data)
    image.thumbnail((_SIDE, _SIDE))
    return image


def _with_boxes(image: Image.Image, example: Example) -> str:
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    if example.task == "referring_qa":
        for text in (example.question, example.answer):
            for one in parse(text, on_bad_box="drop"):
                for box in one.boxes:
                    pen.rectangle(box.to_pixels(*drawn.size), outline=(255, 80, 0), width=2)
    out = io.BytesIO()
    drawn.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def page(report: Report, photos: Mapping[tuple[str, str, int], str]) -> str:
    """Return the report as HTML.

    Args:
        report: from `run.check`.
        photos: from `thumbnails`, of all configurations; may be empty.
    """
    title = f"Check of {escape(report.place)}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>",
        *_overview(report),
        *_contamination(report),
        *(line for found in report.findings for line in _config(found, photos)),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table; numbers stand to the right."""
    body = [list(row) for row in rows]
    right = [isinstance(value, int) for value in (body[0] if body else ())]

    def line(values: Iterable[Any], tag: str) -> str:
        cells = zip(values, right or [False] * len(head), strict=True)
        shown = ((f"{value:,}" if isinstance(value, int) else escape(str(value)), number) for value, number in cells)
        return "".join(f"<{tag}{' class=n' if number else ''}>{text}</{tag}>" for text, number in shown)

    lines = [line(head, "th"), *(line(row, "td") for row in body)]
    return "<table>" + "".join(f"<tr>{one}</tr>" for one in lines) + "</table>"


def _overview(report: Report) -> Iterator[str]:
    faults = {
        one.config: sum(one.counts[c.id] for c in CHECKS.values() if c.remedy != "none") for one in report.findings
    }
    yield _table(
        ("configuration", "rows", "conversations", "QAs", "faults", "unusable"),
        (
            (one.config, one.rows, one.conversations, one.qas, faults[one.config], sum(n for _, n, _ in one.unusable))
            for one in report.findings
        ),
    )
    if report.fixed:
        yield "<p>A cleaned copy was written:</p>"
        rows = ((name, done["left_out"], done["mended"]) for name, done in report.fixed.items())
        yield _table(("configuration", "QAs left out", "QAs mended"), rows)


def _contamination(report: Report) -> Iterator[str]:
    if report.in_coco is None and not report.lists:
        return
    yield "<h2>Evaluation images</h2>"
    if report.in_coco is not None:
        yield f"<p>{report.in_coco:,} of {report.photos:,} photos are COCO's too.</p>"
    rows = ((one.name, one.kind, len(one.ids), len(report.standing[one.name])) for one in report.lists)
    yield _table(("list", "ids of", "ids", "photos in it"), rows)


def _config(found: Findings, photos: Mapping[tuple[str, str, int], str]) -> Iterator[str]:
    yield f"<h2>{escape(found.config)}</h2>"
    counts = {check: found.counts[check] for check in CHECKS if found.counts[check]}
    if counts:
        yield bars({check: count / found.qas for check, count in counts.items()}, "share of QAs")
    else:
        yield "<p>Nothing was found.</p>"
    if found.unusable:
        yield _table(
            ("unusable", "how many", "first"), ((kind, n, some[0] if some else "") for kind, n, some in found.unusable)
        )
    if found.boxes["boxes"]:
        named = max(found.boxes["named"], 1)
        yield (
            f"<p>{found.boxes['boxes']:,} boxes; {found.boxes['named']:,} of things that are annotated, of these "
            f"{found.boxes['iou_50'] / named:.1%} overlap one by 0.5 or more and "
            f"{found.boxes['iou_90'] / named:.1%} by 0.9.</p>"
        )
    if found.lengths:
        yield "<h3>Words an answer</h3>"
        yield histogram(found.lengths)
    for check, some in found.examples.items():
        yield f"<details><summary>{escape(check)}: {found.counts[check]:,}. {escape(CHECKS[check].text)}</summary>"
        for at, one in enumerate(some):
            uri = photos.get((found.config, check, at))
            image = f'<img src="{uri}" alt="photo {one.image_id}">' if uri else ""
            where = f"image {one.image_id}, conversation {one.conversation}, QA {one.qa}"
            yield f'<div class="example">{image}<div><p class="where">{where}</p>'
            yield f'<p class="detail">{escape(one.detail)}</p>'
            yield f'<p class="said"><b>Q</b> {escape(one.question)}</p>'
            yield f'<p class="said"><b>A</b> {escape(one.answer)}</p></div></div>'
        yield "</details>"


def bars(shares: Mapping[str, float], title: str) -> str:
    """Return horizontal bars as SVG, each with its share in words."""
    top = max(shares.values())
    height = 20 * len(shares) + 22
    lines = [
        f'<svg viewBox="0 0 640 {height}" width="640" role="img" aria-label="{escape(title)}" fill="currentColor">'
    ]
    for row, (name, share) in enumerate(shares.items()):
        y = 20 * row
        lines.append(f'<text x="150" y="{y + 14}" text-anchor="end" font-size="12">{escape(name)}</text>')
        lines.append(f'<rect x="158" y="{y + 3}" width="{max(380 * share / top, 1):.1f}" height="14" fill="#3b6fb6"/>')
        lines.append(f'<text x="{164 + 380 * share / top:.1f}" y="{y + 14}" font-size="12">{share:.3%}</text>')
    lines.append(f'<text x="158" y="{height - 6}" font-size="11">{escape(title)}</text></svg>')
    return "".join(lines)


def histogram(lengths: Counter[int]) -> str:
    """Return how many answers have how many words, as SVG columns of equal width; the longest share the last."""
    ordered = sorted(lengths)
    ends = accumulate(lengths[words] for words in ordered)
    usual = next(words for words, end in zip(ordered, ends, strict=True) if end >= lengths.total() * _USUAL)
    step = -(-(usual + 1) // _BARS)
    columns: Counter[int] = Counter()
    for words, count in lengths.items():
        columns[min(words // step, _BARS - 1)] += count
    top = max(columns.values())
    lines = ['<svg viewBox="0 0 640 150" width="640" role="img" aria-label="words an answer" fill="currentColor">']
    for column, count in sorted(columns.items()):
        tall = max(110 * count / top, 1)
        lines.append(
            f'<rect x="{26 * column}" y="{120 - tall:.1f}" width="22" height="{tall:.1f}" fill="#3b6fb6">'
            f"<title>{column * step} to {column * step + step - 1}: {count:,}</title></rect>"
        )
    marks = range(0, max(columns) + 1, 4)
    lines += [f'<text x="{26 * column}" y="136" font-size="11">{column * step}</text>' for column in marks]
    return "".join([*lines, "</svg>"])
