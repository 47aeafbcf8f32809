"""`svit render` and `svit templates`: answers are marked, places are those of the text, tokens the encoder's."""

import json
import re

import click
import pytest
from click.testing import CliRunner

from svit_datasets import load_dataset, sample
from svit_datasets.chat import ChatRenderer, presets
from svit_datasets.chat.spans import Rendered, Span, Turn
from svit_datasets.cli import main
from svit_datasets.cli.render import painted
from tests.tokenizer_packages import trained


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return sample.write_sample(tmp_path_factory.mktemp("chat") / "svit", images=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a model, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("model")
    trained("byte_bpe").save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    (folder / "chat_template.jinja").write_text(presets.preset("chatml").source, "utf-8")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "short.jinja").write_text(presets.preset("vicuna_v1").source, "utf-8")
    return folder


@pytest.fixture(autouse=True)
def a_narrow_terminal_without_colours(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


def svit(*arguments, code=0, color=False):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], color=color)
    assert result.exit_code == code, result.output
    return result


def row_of(corpus, config, index, kind="image"):
    rows = load_dataset("svit", config, split="train", streaming=True, holdout=None, data_dir=corpus.root, rows=kind)
    return next(iter(rows.decode(False).skip(index).take(1)))


# -- render ------------------------------------------------------------------------------------------------------------


def test_render_draws_a_corpus_where_none_is_named():
    result = svit("render", "complex_reasoning", "--tokenizer", "vicuna_v1")
    assert re.search(r"^── image \d+, \d+x\d+ pixels ─+$", result.stdout, re.MULTILINE)
    assert "USER: <image>\n" in result.stdout
    assert "not counted: no tokenizer" in result.stdout
    assert "drawing 16 scenes" in result.stderr


def test_render_marks_each_answer_with_the_token_that_ends_it(corpus):
    row = row_of(corpus, "conversation", 2)
    answers = [message["content"] for one in row["conversations"] for message in one["messages"][1::2]]
    result = svit("render", "conversation", "--tokenizer", "vicuna_v1", "--data-dir", corpus.root, "--index", "2")
    assert re.findall(r"»(.*?)«", result.stdout, re.DOTALL) == [f"{answer}</s>" for answer in answers]
    alone = svit(
        *("render", "conversation", "--tokenizer", "vicuna_v1", "--data-dir", corpus.root, "--index", "2"),
        *("--scope", "content", "--max-turns", "2"),
    )
    assert re.findall(r"»(.*?)«", alone.stdout, re.DOTALL) == answers[:2]


def test_render_as_json_holds_places_in_the_text(corpus, model):
    arguments = ("--data-dir", corpus.root, "--rows", "conversation", "--index", "1")
    found = json.loads(svit("render", "referring_qa", "--tokenizer", model, *arguments, "--json").stdout)
    row = row_of(corpus, "referring_qa", 1, "conversation")
    renderer = ChatRenderer(str(model))
    rendered, encoded = renderer.render(row), renderer.encode(row)
    assert found["text"] == rendered.text
    assert found["turns"] == [turn._asdict() for turn in rendered.turns]
    (start, stop), (first, end) = found["learned"][0], found["images"][0]
    assert found["text"][start:stop] == row["messages"][1]["content"] + "<|im_end|>"
    assert found["text"][first:end] == "<image>"
    total, learned = len(encoded["input_ids"]), sum(encoded["assistant_mask"])
    assert found["tokens"] == {"total": total, "learned": learned, "image": 1}


def test_render_counts_the_image_apart(corpus, model, tmp_path):
    arguments = ("--data-dir", corpus.root, "--rows", "conversation")
    result = svit("render", "complex_reasoning", "--tokenizer", model, *arguments)
    tokens = re.search(r"^  tokens +(\d+); (\d+) of them learned, 1 for the image$", result.stdout, re.MULTILINE)
    assert 0 < int(tokens[2]) < int(tokens[1])
    assert f"Next: ds.map(ChatRenderer('{model}').encode)" in result.stderr
    (tmp_path / "1.jpg").write_bytes(b"no photo")
    without = svit(
        *("render", "mix_665k", "--tokenizer", model, "--data-dir", corpus.root, "--index", "0", "--json"),
        *("--images", tmp_path, "--on-missing-image", "null"),
    )
    assert json.loads(without.stdout)["tokens"]["image"] == 0


def test_render_takes_another_template_and_writes_boxes_otherwise(corpus, model):
    arguments = ("--data-dir", corpus.root, "--rows", "conversation", "--json")
    svits = json.loads(svit("render", "referring_qa", "--tokenizer", model, *arguments).stdout)["text"]
    other = json.loads(
        svit(
            *("render", "referring_qa", "--tokenizer", model, "--template", "short", "--boxes", "qwen2_vl", *arguments)
        ).stdout
    )["text"]
    assert "<st>" in svits
    assert "USER: <image>" in other
    assert "<st>" not in other
    assert "<|box_start|>" in other


def test_what_the_renderer_warns_of_is_a_note(corpus, model, tmp_path):
    template = tmp_path / "other.jinja"
    template.write_text(presets.preset("llama_3").source, "utf-8")
    arguments = ("--data-dir", corpus.root, "--template", template)
    result = svit("render", "complex_reasoning", "--tokenizer", model, *arguments)
    assert "Do template and tokenizer belong together?" in result.stdout
    assert "Warning" not in result.stderr
    notes = json.loads(svit("render", "complex_reasoning", "--tokenizer", model, *arguments, "--json").stdout)["notes"]
    assert any("<|eot_id|>" in note for note in notes)


def test_colours_are_for_terminals(corpus):
    arguments = ("render", "complex_reasoning", "--tokenizer", "vicuna_v1", "--data-dir", corpus.root)
    plain = svit(*arguments)
    painted_text = svit(*arguments, "--color", "always", color=True)
    assert "\x1b[" not in plain.stdout
    assert "»" in plain.stdout
    assert "\x1b[32m" in painted_text.stdout
    assert "»" not in painted_text.stdout
    assert svit(*arguments, "--color", "never", color=True).stdout == plain.stdout
    bare = click.unstyle(painted_text.stdout)
    assert bare == plain.stdout.replace("»", "").replace("«", "")


def test_no_color_is_respected_on_a_terminal(corpus, monkeypatch):
    import svit_datasets.cli.render as command

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(command.sys, "stdout", Terminal())
    assert command.wants_color("auto")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not command.wants_color("auto")
    assert command.wants_color("always")


def test_text_cannot_command_the_terminal():
    turns = (Turn("user", 0, 5, 5), Turn("assistant", 5, 8, 8))
    rendered = Rendered("a\x1b[2Jxyz", turns, (), (Span(0, 8),))
    assert painted(rendered, [Span(5, 8)], in_color=False) == "a\ufffd[2J»xyz«"
    assert "\x1b[2J" not in painted(rendered, [Span(5, 8)], in_color=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tokenizer", "no_such_preset"), "none of the presets"),
        (("--tokenizer", "vicuna_v1", "--index", "999"), "beyond the last row"),
        (("--tokenizer", "vicuna_v1", "--template", "nothing"), "nothing"),
    ],
)
def test_render_refuses_in_one_line(corpus, arguments, words):
    result = svit("render", "complex_reasoning", "--data-dir", corpus.root, *arguments, code=1)
    assert not result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert words in errors[0]


# -- templates ---------------------------------------------------------------------------------------------------------


def test_templates_lists_the_presets_where_none_is_named():
    lines = svit("templates").stdout.splitlines()
    assert lines[0].split()[:4] == ["TEMPLATE", "CONTENT", "IMAGE", "SYSTEM"]
    assert [line.split()[0] for line in lines[1:]] == list(presets.names())


def test_one_template_is_a_page():
    result = svit("templates", "chatml")
    report = ChatRenderer("chatml").report()
    for name, value in report.rows():
        if name != "name":
            assert re.search(rf"^  {name.replace('_', ' ')} +{re.escape(value)}$", result.stdout, re.MULTILINE), name
    assert "svit render complex_reasoning --tokenizer chatml" in result.stderr


def test_templates_takes_files_folders_and_models(model, tmp_path):
    for name in ("gemma", "phi_3"):
        (tmp_path / f"{name}.jinja").write_text(presets.preset(name).source, "utf-8")
    found = json.loads(svit("templates", tmp_path, model, tmp_path / "phi_3.jinja", "mpt", "--json").stdout)
    names = [str(tmp_path / "gemma.jinja"), str(tmp_path / "phi_3.jinja"), str(model), f"{model} short"]
    assert [one["template"] for one in found] == [*names, str(tmp_path / "phi_3.jinja"), "mpt"]
    stops = {one["template"]: one["stop"] for one in found}
    assert stops[str(model)] == "<|im_end|>"
    assert stops[f"{model} short"] == "</s>"
    assert stops[names[0]] == "<end_of_turn>"


def test_a_template_that_cannot_be_used_is_a_line_and_the_exit_code(tmp_path):
    (tmp_path / "broken.jinja").write_text("{% for message in messages %}{{ message.content }}", "utf-8")
    (tmp_path / "fine.jinja").write_text(presets.preset("chatml").source, "utf-8")
    result = svit("templates", tmp_path, code=1)
    assert re.search(r"fine\.jinja +list-user ", result.stdout)
    assert re.search(r"broken\.jinja: TemplateError$", result.stdout, re.MULTILINE)
    found = json.loads(svit("templates", tmp_path, "--json", code=1).stdout)
    assert found[0]["error"].startswith("TemplateError: ")
    alone = svit("templates", tmp_path / "broken.jinja", code=1)
    assert not alone.stdout
    assert alone.stderr.startswith("Error: ")


def test_a_folder_without_templates_is_an_error(tmp_path):
    assert "neither a tokenizer.json nor files" in svit("templates", tmp_path, code=1).stderr
