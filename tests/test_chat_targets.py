"""Whatever the user has of a model, the renderer finds its template, its special tokens and its encoder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tokenizers import AddedToken, Tokenizer
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast, ProcessorMixin

from svit_datasets.chat import ChatRenderer, presets
from svit_datasets.chat.encoders import FastEncoder, TiktokenEncoder
from svit_datasets.chat.slow import CallableEncoder, SlowEncoder
from svit_datasets.chat.targets import resolve
from svit_datasets.errors import MissingDependency, OptionError, SourceNotFound, SvitError, TemplateError
from tests.tokenizer_packages import chat, trained

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}{% endfor %}"
TOOLS = "{{ tools }}" + TEMPLATE


def fast(chat_template=None, **options):
    tokenizer = Tokenizer.from_str(trained("byte_bpe").to_str())
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=chat_template, **options
    )


class PhotoProcessor(ProcessorMixin):
    """The least that is a processor: a tokenizer, an image token, a template."""

    def __init__(self, tokenizer, image_token="<image>", chat_template=None):
        self.image_token = image_token
        super().__init__(tokenizer, chat_template=chat_template)


class Mute(ProcessorMixin):
    """A processor of images alone."""

    def __init__(self):
        """Takes nothing."""


def test_a_fast_tokenizer():
    tokenizer = fast(TEMPLATE, pad_token="<unk>", image_token="<image>")
    target = resolve(tokenizer)
    assert (target.source, target.context["bos_token"], target.context["eos_token"]) == (TEMPLATE, "<s>", "</s>")
    assert isinstance(target.encoder, FastEncoder)
    assert (target.encoder.eos_id, target.encoder.pad_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert (target.image_token, target.processor, target.native) == ("<image>", None, None)
    rendered = chat(("user", "Two?"), ("assistant", "Yes."))
    assert target.encoder.encode(rendered.text, ())[0] == tokenizer.encode(rendered.text, add_special_tokens=False)


def test_a_tokenizers_own_way_to_render_is_never_called(monkeypatch):
    """Trap 22: what it returns, and in which form, changed from version to version."""
    tokenizer = fast(TEMPLATE)
    monkeypatch.setattr(type(tokenizer), "apply_chat_template", None)
    renderer = ChatRenderer(tokenizer, image="none")
    row = {"messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Two."}]}
    assert sum(renderer.encode(row)["assistant_mask"])


def test_a_call_of_the_users_tokenizer_does_not_change_what_comes():
    tokenizer = fast(TEMPLATE, pad_token="<unk>")
    target = resolve(tokenizer)
    before = target.encoder.encode("How many crates?", ())[0]
    tokenizer("How many crates are there?", truncation=True, max_length=2, padding="max_length")
    assert tokenizer.backend_tokenizer.truncation
    assert target.encoder.encode("How many crates?", ())[0] == before


def test_a_slow_tokenizer():
    target = resolve(ByT5Tokenizer(), template="chatml")
    assert isinstance(target.encoder, SlowEncoder)
    assert target.context["eos_token"] == "</s>"


def test_a_processor_and_its_tokenizers_template_where_it_has_none():
    processor = PhotoProcessor(fast("other" + TEMPLATE), chat_template=TEMPLATE)
    target = resolve(processor)
    assert (target.source, target.image_token, target.processor) == (TEMPLATE, "<image>", processor)
    assert isinstance(target.encoder, FastEncoder)
    target = resolve(PhotoProcessor(fast(TEMPLATE), image_token=AddedToken("<image>")))
    assert (target.source, target.image_token) == (TEMPLATE, "<image>")


def test_a_bare_tokenizer_needs_a_template_and_its_tokens_are_found_by_name():
    tokenizer = trained("byte_bpe")
    with pytest.raises(TemplateError, match="no chat template"):
        resolve(tokenizer)
    target = resolve(tokenizer, template=TEMPLATE)
    assert target.source == TEMPLATE
    assert target.context == {"bos_token": "<s>", "eos_token": "</s>"}
    assert target.encoder.eos_id == tokenizer.token_to_id("</s>")


def test_a_tiktoken_encoding():
    import tiktoken

    encoding = tiktoken.Encoding(
        "tiny",
        pat_str=r"\s+|\S+",
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={"<|endoftext|>": 256},
    )
    target = resolve(encoding, template=TEMPLATE)
    assert isinstance(target.encoder, TiktokenEncoder)
    assert (target.context, target.encoder.eos_id) == ({"eos_token": "<|endoftext|>"}, 256)


def test_any_function():
    target = resolve(lambda text: list(text.encode()), template="vicuna_v1")
    assert isinstance(target.encoder, CallableEncoder)
    assert target.source == presets.preset("vicuna_v1").source
    assert target.context["eos_token"] == "</s>"


def test_a_preset_by_name_and_a_template_as_string_or_file(tmp_path):
    target = resolve("chatml")
    assert (target.source, target.encoder) == (presets.preset("chatml").source, None)
    assert resolve(TEMPLATE).source == TEMPLATE
    (tmp_path / "mine.jinja").write_text(TEMPLATE, encoding="utf-8")
    assert resolve(tmp_path / "mine.jinja").source == TEMPLATE
    assert resolve(fast(), template=str(tmp_path / "mine.jinja")).source == TEMPLATE
    assert resolve(fast(), template="llama_2").source == presets.preset("llama_2").source


def test_a_tokenizers_own_special_tokens_go_before_a_presets():
    assert presets.preset("llama_3").tokens["eos_token"] == "<|eot_id|>"
    assert resolve(fast(), template="llama_3").context["eos_token"] == "</s>"
    assert resolve("llama_3").context["eos_token"] == "<|eot_id|>"


def test_of_several_templates_default_is_taken_and_others_by_name_only():
    """Trap 24."""
    several = {"default": TEMPLATE, "tool_use": TOOLS, "rag": "{{ documents }}" + TEMPLATE}
    assert resolve(fast(several)).source == TEMPLATE
    assert resolve(fast(several), template="tool_use").source == TOOLS
    as_list = [{"name": name, "template": source} for name, source in several.items()]
    assert resolve(fast(as_list), template="rag").source == several["rag"]
    assert resolve(PhotoProcessor(fast(), chat_template=several), template="rag").source == several["rag"]
    with pytest.raises(OptionError, match=r"none is called default.*rag, tool_use"):
        resolve(fast({"tool_use": TOOLS, "rag": TEMPLATE}))
    with pytest.raises(OptionError, match=r"template='tools' is no preset.*none of the object's own.*tool_use"):
        resolve(fast(several), template="tools")


def test_a_base_model_is_told_of_the_presets():
    """Trap 17."""
    with pytest.raises(TemplateError, match=r"base models have none.*vicuna_v1.*chatml"):
        resolve(fast())


def test_tokens_to_keep_reach_the_encoder():
    target = resolve(fast(TEMPLATE), keep=frozenset({"<image>"}))
    image = trained("byte_bpe").token_to_id("<image>")
    assert image in target.encoder.encode("<image></s>", [(0, 11)])[0]


@pytest.mark.parametrize("nothing", [7, None, {"a": 1}, b"chatml", object()])
def test_anything_else_is_refused_with_the_list_of_what_works(nothing):
    with pytest.raises(OptionError, match=r"a tiktoken\.Encoding"):
        resolve(nothing)


def test_a_name_of_a_hub_model_is_not_fetched():
    with pytest.raises(OptionError, match="local folders only"):
        resolve("meta-llama/Llama-2-7b-hf")
    with pytest.raises(OptionError, match=r"no preset.*no Jinja template and no file"):
        resolve(fast(), template="no/such.jinja")


def test_what_returns_no_ids_is_no_tokenizer():
    with pytest.raises(OptionError, match="returns 'ABC'"):
        resolve(str.upper, template="chatml")
    with pytest.raises(OptionError, match="returns None"):
        resolve(lambda text: None, template="chatml")
    with pytest.raises(OptionError, match="no tokenizer"):
        resolve(Mute(), template="chatml")


# folders


@pytest.fixture
def folder(tmp_path):
    fast(TEMPLATE, pad_token="<unk>", image_token="<image>").save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_that_transformers_wrote(folder):
    target = resolve(folder)
    assert (folder / "chat_template.jinja").is_file()
    assert (target.source, target.context["eos_token"], target.image_token) == (TEMPLATE, "</s>", "<image>")
    assert target.encoder.pad_id == trained("byte_bpe").token_to_id("<unk>")
    assert target.encoder.lead() == [trained("byte_bpe").token_to_id("<s>")]
    again = resolve(str(folder), template="chatml")
    assert again.source == presets.preset("chatml").source


def test_a_folder_and_the_tokenizer_loaded_from_it_give_the_same(folder):
    loaded = resolve(PreTrainedTokenizerFast.from_pretrained(folder))
    read = resolve(folder)
    assert (read.source, read.context, read.image_token) == (loaded.source, loaded.context, loaded.image_token)
    rendered = chat(("user", "How many </s> crates?"), ("assistant", "Two."))
    ours, theirs = (target.encoder.encode(rendered.text, rendered.data) for target in (read, loaded))
    assert (ours[0], ours[1][:]) == (theirs[0], theirs[1][:])


def test_a_folder_with_several_templates(tmp_path):
    several = {"default": TEMPLATE, "tool_use": TOOLS}
    fast(several).save_pretrained(tmp_path)
    assert resolve(tmp_path).source == TEMPLATE
    assert resolve(tmp_path, template="tool_use").source == TOOLS


@pytest.mark.parametrize("form", ["string", "list", "processor"])
def test_older_folders_hold_the_template_in_json(folder, form):
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if form == "processor":
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    else:
        config["chat_template"] = TEMPLATE if form == "string" else [{"name": "default", "template": TEMPLATE}]
    config["eos_token"] = {"content": "</s>", "__type": "AddedToken"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    target = resolve(folder)
    assert (target.source, target.context["eos_token"]) == (TEMPLATE, "</s>")


def test_tokens_that_only_the_configuration_has_are_added(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    size = trained("byte_bpe").get_vocab_size()
    config["added_tokens_decoder"] = {
        str(size): {"content": "<|late|>", "special": True, "normalized": False, "lstrip": False, "rstrip": False}
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    encoder = resolve(folder).encoder
    assert encoder.encode("<|late|>", ())[0] == [size]
    assert size not in encoder.encode("<|late|>", [(0, 8)])[0]
    loaded = PreTrainedTokenizerFast.from_pretrained(folder)
    assert loaded.convert_tokens_to_ids("<|late|>") == size


def test_a_folder_without_tokenizer_or_with_broken_json_says_what_to_do(tmp_path):
    with pytest.raises(SourceNotFound, match=r"holds no tokenizer\.json.*give that object"):
        resolve(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(OptionError, match="is no JSON"):
        resolve(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(OptionError, match="is no JSON object"):
        resolve(tmp_path)
    with pytest.raises(OptionError, match="Give the folder"):
        resolve(tmp_path / "tokenizer_config.json")


def test_without_the_package_tokenizers_a_folder_names_it(folder):
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from svit_datasets.chat.targets import resolve\n"
        "from svit_datasets.errors import MissingDependency\n"
        "try: resolve(sys.argv[1])\n"
        "except MissingDependency as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "pip install tokenizers" in done.stdout
    assert issubclass(MissingDependency, SvitError)


def test_a_folder_is_read_without_transformers(folder):
    code = (
        "import sys\n"
        "from svit_datasets.chat.targets import resolve\n"
        "print(resolve(sys.argv[1]).source)\n"
        "assert not {'transformers', 'torch', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == TEMPLATE
