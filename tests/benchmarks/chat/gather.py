"""Packages in, their chat templates out: each text once, with where it came from; cached outside this repository.

What counts as a template is read from files, never by importing them: ``*.jinja`` files, string literals of Python
files (also sums of literals), ``chat_template`` in JSON, and the same key in GGUF vocabularies. What is set apart, and
why, is decided by `set_apart` from names and grammar, and by `check.examined` from what transformers renders; each is
counted and listed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import struct
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.benchmarks.chat.packages import NotFetched, cache_home, keep, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jinja2.nodes import Node
    from jinja2.parser import Parser

__all__ = ["CI", "PACKAGES", "Found", "gather", "set_apart", "trl_files"]

# Versions are pinned: a new release must not break what is tested here. `run --latest` leaves them out.
PACKAGES = {
    "trl": ("1.16.0", "wheel"),
    "axolotl": ("0.19.0", "wheel"),
    "llama-cpp-python": ("0.3.36", "source"),
    "vllm": ("0.33.0", "source"),
    "unsloth": ("2026.10.9", "wheel"),
    "mlx-vlm": ("0.7.10", "wheel"),
    "transformers": ("5.23.0", "wheel"),
}
CI = ("trl", "axolotl")
_MOST = 200_000  # characters of a file that is looked into; templates have at most 40,000
_OF_TESTS = re.compile(r"(?:^|/)tests?/.*\.py:")
_OTHER_TASKS = re.compile(r"rerank|embed|guard|score|pooling|audio|asr|speech|ultravox|classif|reward", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A template and where it was found first."""

    package: str
    path: str  # in the package; for a literal, with its line
    source: str

    @property
    def name(self) -> str:
        """A short name for lists."""
        return f"{self.package}:{self.path}"


def gather(packages: Iterable[str], *, latest: bool = False, refresh: bool = False) -> tuple[list[Found], list[str]]:
    """Return the templates of packages in their order, each text once, and a line a package on what came."""
    unique: dict[str, Found] = {}
    lines = []
    for package in packages:
        try:
            found = _of_package(package, latest=latest, refresh=refresh)
        except NotFetched as error:
            lines.append(f"{package}: NOT FETCHED: {error}")
            continue
        before = len(unique)
        for template in found:
            unique.setdefault(template.source.strip(), template)
        lines.append(f"{package}: {len(found)} found, {len(unique) - before} of them new")
    return list(unique.values()), lines


def trl_files() -> dict[str, str]:
    """Return the text of TRL's own template module and its templates, by path in the wheel."""
    path = cache_home() / "templates" / "trl-module.json"
    if not path.is_file():
        with unpacked(_requirement("trl", latest=False), source=False) as tree:
            folder = tree / "trl"
            files = [folder / "chat_template_utils.py", *sorted((folder / "chat_templates").glob("*.jinja"))]
            keep(path, json.dumps({file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in files}))
    found: dict[str, str] = json.loads(path.read_text("utf-8"))
    return found


def _requirement(package: str, *, latest: bool) -> str:
    version, _ = PACKAGES[package]
    return package if latest or not version else f"{package}=={version}"


def _of_package(package: str, *, latest: bool, refresh: bool) -> list[Found]:
    path = cache_home() / "templates" / f"{package}{'-latest' if latest else ''}.json"
    if refresh or not path.is_file():
        with unpacked(_requirement(package, latest=latest), source=PACKAGES[package][1] == "source") as tree:
            found = [Found(package, where, source) for where, source in _in_tree(tree)]
        keep(path, json.dumps([asdict(template) for template in found]))
    return [Found(**item) for item in json.loads(path.read_text("utf-8"))]


# -- out of files ------------------------------------------------------------------------------------------------------


def _in_tree(tree: Path) -> Iterator[tuple[str, str]]:
    readers = {".jinja": _plain, ".jinja2": _plain, ".py": _literals, ".json": _json_values, ".gguf": _gguf}
    for path in sorted(tree.rglob("*")):
        reader = readers.get(path.suffix)
        if reader is None or not path.is_file():
            continue
        where = path.relative_to(tree).as_posix()
        for place, source in reader(path):
            yield where + place, source


def _plain(path: Path) -> Iterator[tuple[str, str]]:
    yield "", path.read_text("utf-8", errors="replace")


def _literals(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text("utf-8", errors="replace")
    if "{%" not in text or "message" not in text:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python no longer likes are not ours
            tree = ast.parse(text)
    except SyntaxError:
        return
    inside = {
        id(part)  # docstrings, and the pieces of f-strings
        for node in ast.walk(tree)
        if isinstance(node, (ast.Expr, ast.JoinedStr))
        for part in (ast.walk(node) if isinstance(node, ast.JoinedStr) else [node.value])
    }
    for node in ast.walk(tree):  # outer nodes first: of a sum only the whole is taken
        value = None if id(node) in inside else _folded(node)
        if value is not None:
            inside.update(map(id, ast.walk(node)))
            if _looks_like_one(value):
                yield f":{getattr(node, 'lineno', 0)}", value


def _folded(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _folded(node.left), _folded(node.right)
        return None if left is None or right is None else left + right
    return None


def _looks_like_one(text: str) -> bool:
    return "{%" in text and re.search(r"\bfor\b[^%]*\bin\b|\bmessages\b", text) is not None and "message" in text


def _json_values(path: Path) -> Iterator[tuple[str, str]]:
    if path.stat().st_size > 50 * _MOST:
        return
    text = path.read_text("utf-8", errors="replace")
    if '"chat_template"' not in text:
        return
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return
    for number, template in enumerate(_under_key(value)):
        if _looks_like_one(template):
            yield f":{number}", template


def _under_key(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _under_key(item)
    elif isinstance(value, dict):
        found = value.get("chat_template")
        named = (
            [item.get("template") for item in found if isinstance(item, dict)] if isinstance(found, list) else [found]
        )
        yield from (item for item in named if isinstance(item, str))
        for item in value.values():
            yield from _under_key(item)


def _gguf(path: Path) -> Iterator[tuple[str, str]]:
    """Read the one value that is wanted: a key, then 8 for "string" in 4 bytes, then its length in 8."""
    data = path.read_bytes()
    key = b"tokenizer.chat_template"
    at = data.find(key)
    if at < 0:
        return
    kind, size = struct.unpack_from("<IQ", data, at + len(key))
    start = at + len(key) + 12
    if kind == 8:
        yield "", data[start : start + size].decode("utf-8", errors="replace")


# -- what is set apart -------------------------------------------------------------------------------------------------


class _Generation(Extension):
    """What transformers adds to jinja2's grammar."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's way

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


_GRAMMAR = ImmutableSandboxedEnvironment(extensions=[loopcontrols, _Generation], trim_blocks=True, lstrip_blocks=True)


def set_apart(template: Found) -> str | None:
    """Return why a text is no chat template, by its name and its grammar alone; None for a candidate."""
    if _OF_TESTS.search(template.path):
        return "a toy: a literal in a test of that package"
    if _OTHER_TASKS.search(template.path):
        return "for another task, by its name: rerank, embed, guard, score, audio"
    try:
        tree = _GRAMMAR.parse(template.source)
    except TemplateSyntaxError as error:
        return f"a fragment: does not parse ({str(error)[:60]})"
    from jinja2 import meta, nodes

    if not {"messages", "conversation"} & meta.find_undeclared_variables(tree):
        return "reads no messages"
    if next(tree.find_all(nodes.For), None) is None:
        return "has no loop: writes one message"
    return None


def fingerprint(templates: Iterable[Found]) -> str:
    """Return what tells two corpora apart."""
    digest = hashlib.sha256()
    for template in templates:
        digest.update(hashlib.sha256(template.source.encode()).digest())
    return digest.hexdigest()[:12]
