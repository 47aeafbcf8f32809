"""Five families of vision-language models for tests: real processors and tiny models with random weights, from configs.

Tokenizers are those of packages (see `tokenizer_packages`) with the family's image tokens added. Photos of 28 pixels or
so and two layers make a forward and a backward a matter of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.tokenizer_packages import folder

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_SQUARE = {"height": 28, "width": 28}
_SP = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}

# Content as parts, each family's own marks; written for these tests.
_QWEN = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)
_IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}"
    "{% if message.content[0].type == 'image' %}:{% else %}: {% endif %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
)
_GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_turn>\n{% endfor %}"
)
_PALIGEMMA = (
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{{ bos_token }}{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "{{ '\n' }}"
    "{% else %}{{ message.content if message.content is string else message.content[0].text }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """A processor, and how a model for it is made."""

    name: str
    processor: Any
    make_model: Callable[[Any], Any]
    template: str | None  # None: the processor's own
    placeholder: str  # what stands in the text for an image
    image_token: str  # what the processor repeats; its number is that of the image features
    stop: str  # what ends an answer
    inputs: frozenset[str]  # what forward takes beside ids, mask and labels


@cache
def family(name: str) -> Family:
    """Return a family, its processor built when first asked for."""
    return _MAKERS[name]()


def _tokenizer(name: str, tokens: list[str], **options: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder(name) / "tokenizer.json"), **options)
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    return tokenizer


def _ids(tokenizer: Any) -> dict[str, Any]:
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return {"vocab_size": len(tokenizer), **ids}


def _llava() -> Family:
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=_SQUARE),
        _tokenizer("llama2", ["<image>"], **_SP),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )

    def model(processor: Any) -> Any:
        vision = CLIPVisionConfig(**_VISION, image_size=28, patch_size=14)
        text = LlamaConfig(**_TEXT, **_ids(processor.tokenizer))
        token = processor.image_token_id
        config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=token)
        return LlavaForConditionalGeneration(config)

    inputs = frozenset({"pixel_values"})
    return Family("llava", processor, model, "vicuna_v1", "<image>", "<image>", "</s>", inputs)


def _qwen2_vl() -> Family:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessorPil, Qwen2VLProcessor
    from transformers.processing_utils import ProcessorMixin

    class Qwen2VLOfImages(Qwen2VLProcessor):
        """Without its video processor, which needs torchvision, of which there is no wheel for torch's CPU build."""

        def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(
                [self.image_token, self.video_token]
            )
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    # pickle looks for a class in its module
    Qwen2VLOfImages.__qualname__ = "Qwen2VLOfImages"
    globals()["Qwen2VLOfImages"] = Qwen2VLOfImages
    tokens = [f"<|{name}|>" for name in ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")]
    tokenizer = _tokenizer("deepseek_v4", [*tokens, "<|endoftext|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    images = Qwen2VLImageProcessorPil(min_pixels=4 * 28 * 28, max_pixels=16 * 28 * 28)
    processor = Qwen2VLOfImages(images, tokenizer, chat_template=_QWEN)

    def model(processor: Any) -> Any:
        token = processor.tokenizer.convert_tokens_to_ids
        ids = _ids(processor.tokenizer)
        config = Qwen2VLConfig(
            vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
            text_config={
                **_TEXT,
                **ids,
                "num_key_value_heads": 4,
                "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
            },
            image_token_id=processor.image_token_id,
            video_token_id=processor.video_token_id,
            vision_start_token_id=token("<|vision_start|>"),
            vision_end_token_id=token("<|vision_end|>"),
        )
        return Qwen2VLForConditionalGeneration(config)

    placeholder = "<|vision_start|><|image_pad|><|vision_end|>"
    inputs = frozenset({"pixel_values", "image_grid_thw", "mm_token_type_ids"})
    return Family("qwen2_vl", processor, model, None, placeholder, "<|image_pad|>", "<|im_end|>", inputs)


def _idefics3() -> Family:
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokens = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", "<|im_start|>", *tiles]
    images = Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    tokenizer = _tokenizer("llama2", tokens, **_SP)
    processor = Idefics3Processor(images, tokenizer, image_seq_len=1, chat_template=_IDEFICS)

    def model(processor: Any) -> Any:
        config = Idefics3Config(
            vision_config={**_VISION, "image_size": 28, "patch_size": 14},
            text_config={"model_type": "llama", **_TEXT, **_ids(processor.tokenizer)},
            image_token_id=processor.image_token_id,
            scale_factor=2,
        )
        return Idefics3ForConditionalGeneration(config)

    inputs = frozenset({"pixel_values", "pixel_attention_mask"})
    return Family("idefics3", processor, model, None, "<image>", "<image>", "<end_of_utterance>", inputs)


def _siglip_text(processor: Any, **options: Any) -> dict[str, Any]:
    return {
        **_TEXT,
        **_ids(processor.tokenizer),
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        **options,
    }


def _gemma3() -> Family:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil, Gemma3Processor

    turns = ["<start_of_turn>", "<end_of_turn>"]
    images = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = _tokenizer("llama2", turns, extra_special_tokens=images, **_SP)
    pan_and_scan = {
        "do_pan_and_scan": True,
        "pan_and_scan_min_crop_size": 16,
        "pan_and_scan_max_num_crops": 4,
        "pan_and_scan_min_ratio_to_activate": 1.2,
    }
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size=_SQUARE, **pan_and_scan), tokenizer, image_seq_length=4, chat_template=_GEMMA
    )
    processor.images_kwargs = {**processor.images_kwargs, **pan_and_scan}

    def model(processor: Any) -> Any:
        config = Gemma3Config(
            vision_config={**_VISION, "image_size": 28, "patch_size": 14},
            text_config=_siglip_text(processor, sliding_window=64),
            mm_tokens_per_image=4,
            image_token_index=processor.tokenizer.image_token_id,
            boi_token_index=processor.tokenizer.boi_token_id,
            eoi_token_index=processor.tokenizer.eoi_token_id,
        )
        return Gemma3ForConditionalGeneration(config)

    inputs = frozenset({"pixel_values", "token_type_ids"})
    return Family("gemma3", processor, model, None, "<start_of_image>", "<image_soft_token>", "<end_of_turn>", inputs)


def _paligemma() -> Family:
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessorPil,
    )

    images = SiglipImageProcessorPil(size=_SQUARE, do_convert_rgb=False)  # as published: the caller converts
    images.image_seq_length = 4
    processor = PaliGemmaProcessor(images, _tokenizer("llama2", [], **_SP), chat_template=_PALIGEMMA)

    def model(processor: Any) -> Any:
        config = PaliGemmaConfig(
            vision_config={
                "model_type": "siglip_vision_model",
                **_VISION,
                "image_size": 28,
                "patch_size": 14,
                "vision_use_head": False,
            },
            text_config={"model_type": "gemma", **_siglip_text(processor)},
            image_token_index=processor.image_token_id,
            projection_dim=32,
        )
        return PaliGemmaForConditionalGeneration(config)

    inputs = frozenset({"pixel_values", "token_type_ids"})
    return Family("paligemma", processor, model, None, "<image>", "<image>", "</s>", inputs)


_MAKERS = {
    "llava": _llava,
    "qwen2_vl": _qwen2_vl,
    "idefics3": _idefics3,
    "gemma3": _gemma3,
    "paligemma": _paligemma,
}
FAMILIES = tuple(_MAKERS)
