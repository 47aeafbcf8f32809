"""``svit sources``: the table of published files, which of them you have, and which answer now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from shlex import quote
from textwrap import shorten
from typing import TYPE_CHECKING

import click

from svit_datasets.cli.inspection import OwnFiles, find_texts, relative
from svit_datasets.cli.output import byte_size, hint, print_json, width
from svit_datasets.errors import SvitError
from svit_datasets.image_sources import find_image_sources
from svit_datasets.sources import find_file, join_url, upstream
from svit_datasets.storage import Storage

if TYPE_CHECKING:
    from svit_datasets.sources import Upstream

__all__ = ["ask_servers", "command"]

_FOLDERS = ("", "data/", "raw/", "annotations/", "raw/annotations/")  # where lists and annotations lie
_PHOTO_FOLDERS = {"images": "VG_100K", "images2": "VG_100K_2"}  # what each zip unpacks to


@click.command(name="sources")
@click.option("--data-dir", help="Also say which of the files are under this folder or URL.")
@click.option("--check", is_flag=True, help="Ask each server whether it would send the file; nothing is downloaded.")
@click.option("--json", "as_data", is_flag=True, help="Print a JSON array, an object a file.")
def command(*, data_dir: str | None, check: bool, as_data: bool) -> None:
    """List the published files: what each holds, its size, licence and URL.

    The records are in a gated repository: accept its terms on the Hub once, then log in with `hf auth login`.

    \b
    Examples:
      svit sources --data-dir /data/svit     which of them are here
      svit sources --check                   which of them can be reached now
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    files = list(upstream().values())
    found = {} if data_dir is None else _found(data_dir)
    answers = ask_servers(files) if check else {}
    if as_data:
        print_json(
            [
                asdict(file)
                | ({} if data_dir is None else {"found": found.get(file.name)})
                | ({"answer": answers[file.name]} if check else {})
                for file in files
            ]
        )
        return
    licence = ""
    for file in files:
        if file.licence != licence:
            licence = file.licence
            click.secho(f"Licence: {licence}", bold=True)
        here = None if data_dir is None else found.get(file.name, "not there")
        click.echo("\n".join(_lines(file, here, answers.get(file.name))))
    if data_dir is not None:
        hint(f"svit inspect {quote(data_dir)}")
    elif not check:
        hint("svit sources --check, or --data-dir DIR for your own copy")


def _lines(file: Upstream, here: str | None, answer: str | None) -> list[str]:
    lines = [f"  {file.name:<20}{byte_size(file.bytes):>7}  {file.holds}", f"    {file.url}"]
    for label, text in (("yours", here), ("answer", answer)):
        if text is not None:
            lines.append(f"    {label}: " + shorten(text, width() - len(label) - 6, placeholder=" …"))
    return lines


def _found(data_dir: str) -> dict[str, str]:
    """Return where each published file is under ``data_dir``, by its name in the table; photos may be unpacked."""
    storage = OwnFiles(places=(join_url(data_dir, ""),))
    found = {file.task.stem: file.info.url for file in find_texts(data_dir, storage)}
    for source in find_image_sources(None, data_dir, storage):
        last = source.urls[0].rsplit("/", 1)[-1]
        for name, folder in _PHOTO_FOLDERS.items():
            if not source.origin and last in (folder, f"{name}.zip"):
                found.setdefault(name, source.urls[0])
    for name, file_name in (("test_image_ids", "test_image_ids.txt"), ("image_data", "image_data.json")):
        names = [f"{folder}{file_name}{ending}" for ending in ("", ".zip") for folder in _FOLDERS]
        if (info := find_file(names, data_dir, storage)) is not None:
            found[name] = info.url
    return {name: relative(url, data_dir) for name, url in found.items()}


def ask_servers(files: list[Upstream]) -> dict[str, str]:
    """Ask for the size of each file, all at once; return what came of it in words, by name: a failure is one too."""
    storage = Storage(timeout=5.0, attempts=1)
    with ThreadPoolExecutor(len(files)) as pool:
        return dict(zip((file.name for file in files), pool.map(lambda file: _ask(file, storage), files), strict=True))


def _ask(file: Upstream, storage: Storage) -> str:
    try:
        info = storage.stat(file.url)
    except SvitError as error:
        return f"no ({type(error).__name__}): {str(error).removeprefix(f'{file.url}: ')}"
    wrong = f", but {byte_size(file.bytes)} were published" if file.bytes not in (None, info.size) else ""
    return f"yes, {byte_size(info.size)}{wrong}"
