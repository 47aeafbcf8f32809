"""Takes the pictures of docs/view.md: ``python -m tests.view_pictures`` from the root of the repository.

Draws the sample corpus, serves it, and photographs pages in Chromium. Needs playwright and a Chromium, as the tests
marked ``browser`` do. Pictures are made small by a palette; photos of drawn scenes bear it.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from svit_datasets.sample import write_sample
from tests.view_site import Site

DOCS = Path(__file__).parents[1] / "docs"
LIMIT = 150_000  # bytes
PICTURES = {  # name: path, colour scheme, height in pixels, what to point at, what to scroll to
    "gallery": ("/referring_qa/train/page-1", "light", 610, None, None),
    "row": ("/referring_qa/train/image-900", "light", 640, ".phrase >> nth=3", None),
    "text": ("/conversation/train/image-900?preset=llama_3", "dark", 640, None, "#render"),
    "statistics": ("/referring_qa/stats", "light", 700, None, ".figures"),
}


def take(page, url, path, point_at, scroll_to):
    page.goto(url + path)
    page.wait_for_load_state("networkidle")
    if path.endswith("stats"):
        page.wait_for_selector(".figures img", timeout=60_000)
        page.wait_for_load_state("networkidle")
    if scroll_to:
        page.locator(scroll_to).evaluate("element => element.scrollIntoView()")
    if point_at:
        page.locator(point_at).hover()
    page.wait_for_timeout(500)
    return Image.open(io.BytesIO(page.screenshot()))


def with_palette(picture, colours):
    """Reduce the colours: a third are those of the page as they are, the rest serve the photos."""
    own = colours // 3
    frequent = sorted(picture.getcolors(picture.width * picture.height), reverse=True)[:own]
    rest = picture.quantize(colours - own, dither=Image.Dither.NONE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in frequent for part in colour] + rest)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def save(picture, path):
    """Write a picture with as many colours as the limit allows."""
    for colours in (255, 192, 128, 96, 64):
        out = io.BytesIO()
        with_palette(picture.convert("RGB"), colours).save(out, "PNG", optimize=True)
        if out.tell() <= LIMIT:
            break
    path.write_bytes(out.getvalue())
    print(f"{path.name}: {out.tell():,} bytes, {colours} colours")


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = write_sample(Path(folder, "svit-sample")).root
        os.chdir(folder)
        with (
            Site("svit-sample", annotations=str(root / "raw/annotations")) as site,
            sync_playwright() as engine,
        ):
            sandbox = [] if os.geteuid() else ["--no-sandbox"]
            browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
            for config in site.shelf.configs:
                site.shelf.data(config)  # so that each tab tells how many rows it has
            for name, (path, scheme, height, point_at, scroll_to) in PICTURES.items():
                viewport = {"width": 1120, "height": height}
                page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
                save(take(page, site.url.rstrip("/"), path, point_at, scroll_to), DOCS / f"view-{name}.png")
            browser.close()


if __name__ == "__main__":
    main()
