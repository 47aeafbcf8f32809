"""The YAML at the top of the card, made of the files' facts: what `datasets` loads by and what the Hub files it under.

Fields and their allowed values are those of the Hub's dataset card specification
(https://github.com/huggingface/hub-docs/blob/main/datasetcard.md); `features` are written as `datasets` writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huggingface_hub import DatasetCardData

from svit_builder.card.words import PRETTY_NAME, PRETTY_NAME_GENERATED

if TYPE_CHECKING:
    from svit_builder.card.facts import ConfigFacts, FolderFacts

__all__ = ["LICENCE", "card_data", "pretty_name", "size_category"]

LICENCE = "cc-by-4.0"
_TAGS = ["svit", "visual-instruction-tuning", "multimodal", "conversations", "visual-genome", "coco", "llava"]
_SIZES = (("K", 1_000), ("M", 1_000_000), ("B", 1_000_000_000))


def card_data(facts: FolderFacts) -> DatasetCardData:
    """Return the card's metadata.

    ``num_bytes`` are those of the columns before compression, from the footers: a few per cent under what the rows take
    in Arrow, which only reading them would tell.
    """
    names = {config.task.name for config in facts.configs}
    return DatasetCardData(
        pretty_name=pretty_name(facts),
        license=LICENCE,
        language=["en"],
        task_categories=["visual-question-answering", "image-text-to-text", "image-to-text"],
        task_ids=["image-captioning"] if "detail_description" in names else None,
        size_categories=[size_category(facts.answers)],
        annotations_creators=["machine-generated"],
        multilinguality=["monolingual"],
        source_datasets=["extended"],
        tags=["synthetic", *_TAGS] if facts.generated else _TAGS,
        configs=[_config(config, default=config is facts.default) for config in facts.configs],
        dataset_info=[_info(config) for config in facts.configs],
    )


def pretty_name(facts: FolderFacts) -> str:
    """Return the title: SVIT's own for its text, another for text that `svit generate` made."""
    return PRETTY_NAME_GENERATED if facts.generated else PRETTY_NAME


def size_category(count: int) -> str:
    """Return the Hub's word for a number of examples."""
    if count < 1_000:
        return "n<1K"
    unit, value = next(pair for pair in reversed(_SIZES) if count >= pair[1])
    low = 10 ** (len(str(count // value)) - 1)
    following = dict(zip("KMB", "MBT", strict=True))[unit]
    high = f"{low * 10}{unit}" if low < 100 else f"1{following}"
    return f"{low}{unit}<n<{high}"


def _config(config: ConfigFacts, *, default: bool) -> dict[str, Any]:
    name = config.task.name
    files = [{"split": split.name, "path": f"{name}/{split.name}-*.parquet"} for split in config.splits]
    return {"config_name": name, "data_files": files} | ({"default": True} if default else {})


def _info(config: ConfigFacts) -> dict[str, Any]:
    return {
        "config_name": config.task.name,
        "features": config.features._to_yaml_list(),  # noqa: SLF001 - what `datasets` itself writes into a card
        "splits": [
            {"name": split.name, "num_bytes": split.uncompressed, "num_examples": split.rows} for split in config.splits
        ],
        "download_size": sum(split.bytes for split in config.splits),
        "dataset_size": sum(split.uncompressed for split in config.splits),
    }
