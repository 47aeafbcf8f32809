"""The documentation is true: its code runs, its error messages are the ones the code writes, its lists are complete.

A page's ``python`` blocks run in order in one namespace, in an empty working directory. ``/data/svit`` in them stands
for a sample corpus. A ``text`` block right after a ``python`` or ``console`` block is what it prints. A block after
``<!-- not run: REASON -->`` is left alone.
"""

from __future__ import annotations

import errno
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from svit_builder.build import build
from svit_builder.generate.plan import Settings
from svit_builder.generate.run import Job, generate
from svit_builder.publish import publish

import svit_datasets
from svit_datasets import errors, load_dataset
from svit_datasets.cache import build_once
from svit_datasets.chat import ChatRenderer
from svit_datasets.records import DEFECT_KINDS
from svit_datasets.sample import write_sample
from svit_datasets.sources import read_holdout
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS
from tests.servers import Fault, FileServer, Hub
from tests.servers.chat import ChatServer

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
CORPUS = "/data/svit"


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int  # 1-based, of its first line
    run: bool  # not marked as not to be run


def blocks(page: Path) -> list[Block]:
    found = []
    text = page.read_text("utf-8")
    for match in re.finditer(r"(<!-- not run: [^\n]+ -->\n+)?^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(3)) + 1
        found.append(Block(match[2], match[3], line, run=match[1] is None))
    return found


def with_output(page: Path, language: str) -> list[tuple[Block, str | None]]:
    """Return the page's blocks of a language, each with what it should print where the page tells."""
    found = [*blocks(page), Block("", "", 0, run=False)]
    return [
        (one, after.text if after.language == "text" and after.line - one.line <= one.text.count("\n") + 3 else None)
        for one, after in pairwise(found)
        if one.language == language and one.run
    ]


def loose(text: str) -> str:
    """Numbers and spacing may differ."""
    return " ".join(re.sub(r"\d[\d,.]*(?<![,.])", "0", text).split())


def assert_printed(expected: str, printed: str, where: str) -> None:
    """Every line of ``expected`` is printed, in order; a line of dots stands for any lines."""
    rest = loose(printed)
    for line in expected.splitlines():
        if line.strip() in {"", "...", "…"}:
            continue
        wanted = loose(line)
        assert wanted in rest, f"{where}: {line!r} is not printed; what is:\n{printed}"
        rest = rest[rest.index(wanted) + len(wanted) :]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    target = tmp_path_factory.mktemp("docs") / "svit"
    write_sample(target)
    return target


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    svit_datasets.unregister()


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if with_output(page, "python")], ids=name_of)
def test_python_runs(page, corpus, elsewhere, capsys):
    namespace = {"__name__": "__main__"}
    for block, output in with_output(page, "python"):
        code = "\n" * (block.line - 1) + block.text.replace(CORPUS, str(corpus))
        exec(compile(code, name_of(page), "exec"), namespace)
        printed = capsys.readouterr().out
        if output is not None:
            assert_printed(output, printed, f"{name_of(page)}, line {block.line}")


@pytest.mark.parametrize("page", [page for page in PAGES if with_output(page, "console")], ids=name_of)
def test_console_runs(page, corpus, elsewhere):
    """Lines that begin with ``$ svit`` are run one after another; the lines below one are what it prints."""
    for block, _ in with_output(page, "console"):
        for command, _, output in re.findall(r"^\$ (.+(\\\n.+)*)\n?((?:(?!\$ ).*\n?)*)", block.text, re.MULTILINE):
            words = shlex.split(command.replace("\\\n", "").replace(CORPUS, str(corpus)))
            if words[0] != "svit":
                continue
            program = Path(sys.executable).with_name("svit")
            done = subprocess.run([program, *words[1:]], capture_output=True, text=True, timeout=300, check=False)
            where = f"{name_of(page)}, line {block.line}: {command}"
            assert_printed(output.replace(CORPUS, str(corpus)), done.stdout + done.stderr, where)
            meant = "Error: " in output  # the page shows a command that fails
            assert (done.returncode == 0) != meant, f"{where}\n{done.stderr}"


# Troubleshooting: each message there is provoked here ----------------------------------------------------------------


def section_messages() -> dict[str, str]:
    """Return the first ``text`` block under each heading of an error class."""
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    parts = re.split(r"^## `(\w+)`$", text, flags=re.MULTILINE)[1:]
    found = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        block = re.search(r"^```text\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
        found[name] = block[1] if block else ""
    return found


@dataclass(frozen=True)
class Stage:
    """A corpus that may be spoilt, and what its paths are called in the documentation."""

    root: Path  # the corpus, called /data/svit
    cache: Path

    def load(self, **options):
        """Read a configuration to its last row; photos come from the two zips."""
        zips = [self.root / "raw/images.zip", self.root / "raw/images2.zip"]
        options = {"data_dir": self.root, "images": zips, "cache_dir": self.cache} | options
        for rows in load_dataset("svit", "complex_reasoning", streaming=True, **options).values():
            for _ in rows:
                pass

    def rewrite_records(self, change):
        path = self.root / "data/complex_reasoning.zip"
        with zipfile.ZipFile(path) as archive:
            items = json.loads(archive.read("complex_reasoning.json"))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("complex_reasoning.json", json.dumps(change(items)))

    def rewrite_photo(self, change):
        """Change the bytes of one member of a zip; None takes it out."""
        path = self.root / "raw/images.zip"
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        first = next(iter(members))
        members[first] = change(members[first])
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                if data is not None:
                    archive.writestr(member, data)


def wrong_option(stage):
    stage.load(rows="images")


def no_folder(stage):
    stage.load(data_dir=stage.root / "nowhere")


def gated(stage):
    content = (stage.root / "data/complex_reasoning.zip").read_bytes()
    with Hub() as hub:
        hub.add_dataset("BAAI/SVIT", {"data/complex_reasoning.zip": content}, gated=True, token="hf_a")
        stage.load(data_dir=None, holdout=None, storage_options={"hf": {"endpoint": hub.url}})


def server_down(stage):
    with FileServer(stage.root) as server:
        server.faults.add(Fault("status", code=503, times=None))
        with as_host(server):
            Storage(attempts=2, backoff=0).stat(f"{server.url}/data/complex_reasoning.json")


def no_ranges(stage):
    with FileServer(stage.root) as server, as_host(server):
        server.faults.add(Fault("no_range", times=None))
        stage.load(data_dir=server.url)


@contextmanager
def as_host(server):
    try:
        yield
    except errors.SvitError as error:
        raise type(error)(str(error).replace(server.url, "https://HOST")) from error


def file_replaced(stage):
    zips = [stage.root / "raw/images.zip", stage.root / "raw/images2.zip"]
    splits = load_dataset(
        "svit", "complex_reasoning", streaming=True, data_dir=stage.root, images=zips, cache_dir=stage.cache
    )
    stage.rewrite_photo(lambda data: data + b"\0")
    for _ in splits["train"]:
        pass


def file_cut(stage):
    path = stage.root / "data/complex_reasoning.zip"
    path.write_bytes(path.read_bytes()[:6000])
    stage.load()


def other_list(stage):
    class Elsewhere(Storage):
        def read(self, url, *_, **__):
            return b"1\n2\n"

    read_holdout("official", None, Elsewhere(), stage.cache)


def no_answer(stage):
    def change(items):
        items[3]["conversations"][1]["content"].pop()
        return items

    stage.rewrite_records(change)
    stage.load()


def photo_gone(stage):
    stage.rewrite_photo(lambda _: None)
    stage.load()


def empty_photo(stage):
    stage.rewrite_photo(lambda _: b"")
    stage.load()


def other_json(stage):
    stage.rewrite_records(lambda _: [{"image_id": number} for number in range(1200)])
    stage.load(on_bad_record="skip")


def disk_full(stage):
    def build(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    build_once(stage.cache / "svit-sources/text/complex_reasoning-f06af1d2e2c10351", build)


def no_package(stage):
    stage.load(images="gs://bucket/photos")


def chat_row(answer):
    return {
        "id": "2350966-0",
        "image": b"",
        "width": 500,
        "height": 375,
        "messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": answer}],
    }


def runaway_template(_):
    ChatRenderer("{% for message in messages %}\n{{ message.content * 10**9 }}{% endfor %}")


def unknown_image_token(_):
    ChatRenderer("{% for message in messages %}{{ message.content }}\n{% endfor %}").render(chat_row("Here."))


def empty_answer(_):
    ChatRenderer("chatml").render(chat_row(" "))


def broken_box(_):
    ChatRenderer("chatml", boxes="qwen2_vl", on_bad_box="raise").render(chat_row("<st>A dog<ed> [0.5, 0.2, 0.3]."))


def parts_missing(stage):
    build(stage.root / "built", data_dir=stage.root, configs=["detail_description"], finish=True, cache_dir=stage.cache)


def no_right(stage):
    publish(stage.root, "ORG/svit")


def no_key(stage):
    with ChatServer(key="another") as server, as_host(server):
        urls = (f"{server.url}/v1",)
        generate(
            Job(
                stage.root / "made",
                str(stage.root),
                Settings(model="my-model"),
                base_urls=urls,
                key_name="MY_KEY",
                cache_dir=str(stage.cache),
            )
        )


PROVOKED = {
    "OptionError": wrong_option,
    "SourceNotFound": no_folder,
    "AccessDenied": gated,
    "SourceUnreachable": server_down,
    "RangeNotSupported": no_ranges,
    "SourceChanged": file_replaced,
    "CorruptFile": file_cut,
    "ChecksumMismatch": other_list,
    "BadRecord": no_answer,
    "ImageNotFound": photo_gone,
    "BadImage": empty_photo,
    "TooManyFailures": other_json,
    "CacheError": disk_full,
    "TemplateError": runaway_template,
    "TemplateLossError": unknown_image_token,
    "EncodeError": empty_answer,
    "BadBox": broken_box,
    "BuildError": parts_missing,
    "PublishError": no_right,
    "EndpointError": no_key,
    "MissingDependency": no_package,
}


def test_troubleshooting_has_a_heading_for_each_error():
    assert sorted(section_messages()) == sorted(errors.__all__)
    assert sorted([*PROVOKED, "SvitError"]) == sorted(errors.__all__)


@pytest.mark.parametrize("name", PROVOKED)
def test_troubleshooting_shows_the_message_that_is_printed(name, corpus, tmp_path):
    root = tmp_path / "svit"
    shutil.copytree(corpus, root)
    with pytest.raises(getattr(errors, name)) as raised:
        PROVOKED[name](Stage(root, root / "cache"))
    assert type(raised.value).__name__ == name
    assert loose(section_messages()[name]) == loose(str(raised.value).replace(str(root), CORPUS))


# Tables ---------------------------------------------------------------------------------------------------------------


def table_column(page: Path, heading: str) -> list[str]:
    """Return the first column, in code marks, of the first table below a heading."""
    below = page.read_text("utf-8").split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    return re.findall(r"^\| `(\w+)`", table[0], re.MULTILINE)


def test_loading_lists_every_kind_that_is_counted():
    others = ["message_is_empty", "missing_image", "bad_image"]
    assert table_column(DOCS / "loading.md", "### What is counted") == [*DEFECT_KINDS, *others]


@pytest.mark.parametrize(
    ("page", "heading"), [(README, "## Configurations and columns"), (DOCS / "loading.md", "## Configurations")]
)
def test_configurations_are_listed(page, heading):
    assert table_column(page, heading) == list(TASKS)


# The README -----------------------------------------------------------------------------------------------------------


def test_readme_begins_with_the_two_commands():
    commands = [block.text.strip() for block in blocks(README) if block.language == "bash"]
    assert commands[:2] == ["pip install -e . && svit demo", 'pip install -e ".[test]" && python -m pytest']


def test_readme_is_short():
    assert len(README.read_text("utf-8").split()) <= 700


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    """mkdocs checks the links within the site; this also checks those of the README."""
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text):
        assert (page.parent / target).exists(), f"{name_of(page)}: {target}"
