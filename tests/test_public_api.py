"""What the package promises by its surface: names, cheap imports, errors, the table of published files."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import svit_datasets
from svit_datasets import errors
from svit_datasets.errors import SvitError
from svit_datasets.sources import upstream
from svit_datasets.tasks import TASKS

PACKAGE = Path(svit_datasets.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def test_public_names_are_listed_in_order_and_exist():
    assert svit_datasets.__all__ == sorted(svit_datasets.__all__)
    assert dir(svit_datasets) == svit_datasets.__all__
    for name in svit_datasets.__all__:
        assert getattr(svit_datasets, name).__name__ == name


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'load_datasets'"):
        _ = svit_datasets.load_datasets


@pytest.mark.parametrize("name", MODULES)
def test_module_lists_its_names(name):
    """Sorted as ruff sorts them: constants, classes, functions."""
    module = import_module(f"svit_datasets.{name}")
    for public in module.__all__:
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", ["svit_datasets", "svit_datasets.records", "svit_datasets.errors"])
def test_import_is_cheap(name):
    """datasets costs 0.5 s and 100 MB; torch more. Whoever only parses text pays for neither."""
    code = f"import sys, {name}; print(sorted({{'datasets', 'torch', 'pyarrow', 'PIL', 'fsspec'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_is_the_one_that_is_installed():
    project = (PACKAGE.parent / "pyproject.toml").read_text("utf-8")
    assert f'version = "{version("svit-datasets")}"' in project


# Errors ---------------------------------------------------------------------------------------------------------------


def drawn_tree() -> dict[str, str]:
    """Return class and standard class from the tree in the module's docstring."""
    return dict(re.findall(r"[├└]── (\w+) +\((\w+)\)", errors.__doc__))


def test_every_error_is_drawn_in_the_tree():
    assert errors.__all__ == sorted(errors.__all__)
    assert sorted([*drawn_tree(), "SvitError"]) == errors.__all__
    defined = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert sorted(defined) == errors.__all__


@pytest.mark.parametrize(("name", "standard"), drawn_tree().items())
def test_error_is_ours_and_the_standard_one(name, standard):
    error = getattr(errors, name)
    assert issubclass(error, SvitError)
    assert issubclass(error, getattr(builtins, standard))
    assert str(error("what, where, what next")) == "what, where, what next"


# Published files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", upstream().values(), ids=lambda file: file.name)
def test_published_file_is_well_described(file):
    parts = urlsplit(file.url)
    assert parts.scheme in {"https", "hf"}
    assert parts.netloc
    assert re.fullmatch(r"[\w./~-]+", parts.path)
    assert not parts.query
    assert Path(parts.path).name.partition(".")[0] == file.name
    assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert file.bytes is None or file.bytes > 0
    assert file.licence
    assert file.holds


def test_published_files_are_named_once():
    import tomllib

    rows = tomllib.loads((PACKAGE / "sources.toml").read_text("utf-8"))["file"]
    for key in ("name", "url", "sha256"):
        values = [row[key] for row in rows if key in row]
        assert len(values) == len(set(values)), key
    assert len(rows) == len(upstream())


def test_every_configuration_has_its_published_file():
    assert {task.stem for task in TASKS.values()} <= set(upstream())
