"""The command line: data on standard output, all else on standard error, one line and code 1 for what goes wrong."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from svit_datasets import sample
from svit_datasets.cli import COMMANDS, main, output, rows
from svit_datasets.cli.sources import ask_servers
from svit_datasets.sources import Upstream, upstream

DOCS = Path(__file__).parents[1] / "docs" / "cli.md"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return sample.write_sample(tmp_path_factory.mktemp("cli") / "svit", images=12)


@pytest.fixture(autouse=True)
def a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def svit(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def in_a_process(*arguments):
    code = "from svit_datasets.cli import main; main(prog_name='svit')"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120)


def command(name):
    return main.get_command(click.Context(main), name)


# -- help and docs -----------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_examples():
    text = svit("--help").stdout
    assert "Examples:" in text
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name):
    text = svit(name, "--help").stdout
    assert text.startswith(f"Usage: svit {name}")
    assert "Example" in text
    for parameter in command(name).params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_all_its_options(name):
    page = DOCS.read_text("utf-8")
    section = page.partition(f"\n## svit {name}\n")[2].partition("\n## ")[0]
    assert section, f"docs/cli.md has no heading “## svit {name}”"
    for parameter in command(name).params:
        assert f"`{max(parameter.opts, key=len)}" in section or isinstance(parameter, click.Argument), parameter.name


def test_the_docs_name_no_command_that_is_not_there():
    assert re.findall(r"^## svit (\S+)$", DOCS.read_text("utf-8"), re.MULTILINE) == list(COMMANDS)


def test_help_needs_none_of_the_heavy_packages():
    code = (
        "import sys; from svit_datasets.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"datasets", "pyarrow", "numpy", "PIL", "fsspec", "huggingface_hub"} & set(listed)


def test_version():
    assert re.fullmatch(r"svit, version \d+\.\d+\.\d+\S*\n", svit("--version").stdout)


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("head",), ("head", "no_such_config"), ("head", "conversation", "-n", "0"), ("inspect",)],
)
def test_wrong_usage_is_code_2(arguments):
    result = svit(*arguments, code=2)
    assert not result.stdout
    assert "Usage: " in result.stderr


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_an_error_of_ours_is_one_line_without_traceback(tmp_path):
    result = in_a_process("head", "conversation", "--data-dir", tmp_path / "nowhere")
    assert result.returncode == 1
    assert not result.stdout
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "nowhere" in result.stderr


def test_what_the_disk_refuses_is_one_line_too(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    result = svit("head", "conversation", "--data-dir", corpus.root, "--save-images", tmp_path / "file", code=1)
    assert re.search(r"^Error: \S*file: File exists\.$", result.stderr, re.MULTILINE)


def test_a_letter_that_the_terminal_cannot_show_ends_nothing(corpus):
    code = "from svit_datasets.cli import main; main()"
    command = [sys.executable, "-c", code, "head", "conversation", "--data-dir", str(corpus.root)]
    no_lines = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run(command, capture_output=True, env=no_lines, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert b"?? image " in result.stdout


# -- sample ------------------------------------------------------------------------------------------------------------


def test_sample_says_what_it_wrote(tmp_path):
    result = svit("sample", tmp_path / "a b", "--images", "6", "--seed", "3")
    assert (tmp_path / "a b" / "data" / "conversation.zip").is_file()
    assert "6 images, 1 of them held out" in result.stdout
    assert re.search(r"^complex_reasoning +6 +\d+$", result.stdout, re.MULTILINE)
    assert result.stderr == f"Next: svit head complex_reasoning --data-dir '{tmp_path / 'a b'}'\n"


def test_sample_as_json_is_the_summary(tmp_path):
    result = json.loads(svit("sample", tmp_path / "a", "--images", "6", "--json").stdout)
    again = sample.write_sample(tmp_path / "b", images=6)
    assert result["root"] == str(tmp_path / "a")
    assert result["image_ids"] == list(again.image_ids)
    assert result["files"] == again.files
    assert result["questions"] == again.questions


def test_sample_with_defects(tmp_path):
    result = svit("sample", tmp_path / "svit", "--images", "6", "--defects")
    listed = json.loads((tmp_path / "svit" / "defects.json").read_text("utf-8"))["defects"]
    assert f"{len(listed)} defective copies" in result.stdout


def test_sample_overwrites_nothing(corpus):
    assert "not an empty folder" in svit("sample", corpus.root, code=1).stderr


# -- sources -----------------------------------------------------------------------------------------------------------


def test_sources_prints_the_whole_table():
    text = svit("sources").stdout
    for row in upstream().values():
        assert row.name in text
        assert row.url in text
        assert f"Licence: {row.licence}\n" in text
        assert row.holds in text


def test_sources_knows_which_files_are_here(corpus, tmp_path):
    result = json.loads(svit("sources", "--data-dir", corpus.root, "--json").stdout)
    found = {row["name"]: row["found"] for row in result}
    assert found.keys() == upstream().keys()
    assert all((corpus.root / path).exists() for path in found.values())
    assert found["images2"] == "raw/images2.zip"
    assert found["image_data"] == "raw/annotations/image_data.json"
    (tmp_path / "VG_100K").mkdir()
    (tmp_path / "VG_100K" / "2.jpg").write_bytes(b"")
    text = svit("sources", "--data-dir", tmp_path).stdout
    assert "yours: VG_100K\n" in text
    assert text.count("yours: not there") == len(found) - 1


def test_a_server_that_does_not_answer_is_a_result(http_server):
    there, gone = http_server.put("there.zip", b"x" * 2000), f"{http_server.url}/gone.zip"
    urls = {"there": there, "other": there, "gone": gone, "down": "http://127.0.0.1:9/x.zip"}
    sizes = {"there": 2000, "other": 3000}
    files = [Upstream(name, url, "none", "nothing", bytes=sizes.get(name)) for name, url in urls.items()]
    began = time.monotonic()
    answers = ask_servers(files)
    assert time.monotonic() - began < 10
    assert answers["there"] == "yes, 2 kB"
    assert answers["other"] == "yes, 2 kB, but 3 kB were published"
    assert answers["gone"].startswith("no (SourceNotFound): ")
    assert answers["down"].startswith("no (SourceUnreachable): ")


# -- head --------------------------------------------------------------------------------------------------------------


def test_head_prints_rows_for_people(corpus):
    result = svit("head", "conversation", "--data-dir", corpus.root, "-n", "2")
    titles = re.findall(r"^── image (\d+), \d+x\d+ pixels ─+$", result.stdout, re.MULTILINE)
    assert len(titles) == 2
    assert int(titles[0]) in corpus.image_ids
    assert result.stdout.count("     Q  ") == 30
    assert re.search(r"^  1  \[.+\]$", result.stdout, re.MULTILINE)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr.startswith('Next: ds = load_dataset("svit", "conversation"')


@pytest.mark.parametrize(
    ("config", "kind"), [("complex_reasoning", "image"), ("all", "conversation"), ("mix_665k", "image")]
)
def test_head_as_json_lines_is_the_rows(corpus, config, kind):
    from svit_datasets import load_dataset

    lines = svit("head", config, "--data-dir", corpus.root, "-n", "4", "--rows", kind, "--json").stdout.splitlines()
    stream = load_dataset("svit", config, split="train", streaming=True, data_dir=corpus.root, rows=kind)
    expected = list(stream.decode(False).take(4))
    for row in expected:
        row["image"] = row["image"] and row["image"]["path"]
    assert [json.loads(line) for line in lines] == expected


def test_head_saves_photos_byte_for_byte(corpus, tmp_path):
    import zipfile

    result = svit(
        "head", "referring_qa", "--data-dir", corpus.root, "--save-images", tmp_path / "new" / "photos", "--json"
    )
    originals = {}
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(corpus.root / "raw" / name) as zipped:
            originals |= {
                Path(member).name: hashlib.sha256(zipped.read(member)).digest() for member in zipped.namelist()
            }
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 3
    for row in rows:
        assert Path(row["saved"]) == tmp_path / "new" / "photos" / f"{row['image_id']}.jpg"
        assert hashlib.sha256(Path(row["saved"]).read_bytes()).digest() == originals[f"{row['image_id']}.jpg"]


def test_head_splits_and_says_when_there_are_no_more(corpus):
    held_out = svit("head", "detail_description", "--data-dir", corpus.root, "--split", "test", "-n", "50", "--json")
    ids = {json.loads(line)["image_id"] for line in held_out.stdout.splitlines()}
    assert ids == set(corpus.test_image_ids)
    assert f"{len(ids)} of 50 rows: the test split has no more." in held_out.stderr
    everything = svit(
        "head", "detail_description", "--data-dir", corpus.root, "--holdout", "none", "-n", "50", "--json"
    )
    assert len(everything.stdout.splitlines()) == corpus.records["detail_description"]


def test_head_follows_the_policy_for_missing_photos(corpus, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"no photo")
    options = ("head", "complex_reasoning", "--data-dir", corpus.root, "--images", tmp_path / "photos")
    failed = svit(*options, code=1)
    assert "photos are missing" in failed.stderr
    row = json.loads(svit(*options, "--on-missing-image", "null", "-n", "1", "--json").stdout)
    assert row["image"] is None
    assert row["width"] is None
    text = svit(*options, "--on-missing-image", "null", "-n", "1", "--save-images", tmp_path / "none")
    assert "no photo" in text.stdout
    assert not (tmp_path / "none").exists()


def test_text_cannot_command_the_terminal():
    message = {"role": "user", "content": "a\x1b[2Jb\tc\nnext line"}
    row = {"id": "x", "image_path": None, "width": None, "height": None, "messages": [message]}
    lines = list(rows.row_lines(row))
    assert lines[1:] == ["     Q  a\ufffd[2Jb c", "        next line"]


# -- demo --------------------------------------------------------------------------------------------------------------


def test_demo_shows_two_conversations_within_ten_seconds_and_leaves_nothing(tmp_path):
    code = "from svit_datasets.cli import main; main()"
    offline = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "https_proxy": "http://127.0.0.1:9",
    }
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", code, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=offline, text=True,
        encoding="utf-8",
    ) as process:  # fmt: skip
        lines = []
        while sum(line.startswith("     A  ") for line in lines) < 2:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        assert time.monotonic() - began < 10
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert sum(re.match(r"── image \d+, \d+x\d+ pixels ─", line) is not None for line in lines) == 2
    assert re.search(r"^\d+ rows, an image each, with \d+ questions and answers\.$", rest, re.MULTILINE)
    assert rest.endswith('ds = load_dataset("svit", "complex_reasoning", split="train", streaming=True)\n')
    assert "Next: " in errors
    assert [path for path in tmp_path.iterdir() if path.name.startswith("svit-demo-")] == []


# -- how things are printed --------------------------------------------------------------------------------------------


def test_bars():
    assert output.bars({2: 3, 10: 1}) == [f" 2  3  {'█' * 32}", f"10  1  {'█' * 11}"]
    many = output.bars(dict.fromkeys(range(40), 1) | {39: 1000})
    assert len(many) == 14
    assert many[0].startswith("  0 to 2      3  █")


def test_byte_sizes():
    sizes = (None, 0, 999, 1000, 166_458_874, 9_731_705_982)
    assert [output.byte_size(size) for size in sizes] == ["?", "0 B", "999 B", "1 kB", "166 MB", "9.7 GB"]


def test_a_long_word_stays_whole():
    url = "https://example.org/" + "x" * 90
    assert output.label_lines("url", f"it is at {url}") == [f"  {'url':<17}it is at", " " * 19 + url]
