"""The files' facts in, Croissant JSON-LD out: what each file is, with its digest, and what the records in it are.

The format is https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0; `mlcroissant` validates it and
reads the records back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from datasets import Image, List

from svit_builder.card.metadata import pretty_name
from svit_builder.card.words import CITATION, COLUMNS
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.card.facts import ConfigFacts, FolderFacts

__all__ = ["croissant_json"]

_PARQUET = "application/x-parquet"
_ABOUT = "Visual-instruction questions and answers on Visual Genome photos."
_TYPES = {"int64": "cr:Int64", "int32": "cr:Int32", "string": "sc:Text"}
_TERMS = {  # the context that the specification gives
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant_json(facts: FolderFacts, repo_id: str | None) -> str:
    """Return the Croissant description of a folder, as JSON text.

    Args:
        facts: of the folder.
        repo_id: where it will be published; files then have that address, else one relative to the description.
    """
    value = {
        "@context": _TERMS,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "svit",
        "alternateName": pretty_name(facts),
        "description": _ABOUT if not facts.generated else f"{_ABOUT} Generated in the way of SVIT; not its text.",
        "license": "https://creativecommons.org/licenses/by/4.0/",
        "url": f"https://huggingface.co/datasets/{repo_id}" if repo_id else "https://arxiv.org/abs/2307.04087",
        "citeAs": CITATION.partition("\n\n")[0],
        "inLanguage": "en",
        "keywords": ["visual instruction tuning", "vision-language", "Visual Genome", "COCO"],
        "distribution": [
            *_repo(repo_id),
            *(part for config in facts.configs for part in _distribution(config, repo_id)),
        ],
        "recordSet": [_record_set(config) for config in facts.configs],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _distribution(config: ConfigFacts, repo_id: str | None) -> Iterator[dict[str, Any]]:
    name, base = config.task.name, _address(repo_id)
    for file in config.files:
        yield {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": base + file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": _PARQUET,
            "sha256": file.sha256,
        }
    yield {
        "@type": "cr:FileSet",
        "@id": f"{name}-files",
        "name": f"{name}-files",
        **({"containedIn": {"@id": "repo"}} if repo_id else {}),
        "encodingFormat": _PARQUET,
        "includes": f"{name}/*.parquet",
    }


def _record_set(config: ConfigFacts) -> dict[str, Any]:
    name = config.task.name
    source = {"fileSet": {"@id": f"{name}-files"}}
    split = {
        **_field(f"{name}/split", "which split"),
        "dataType": "sc:Text",
        "source": {**source, "extract": {"fileProperty": "filename"}, "transform": {"regex": r"^(\w+)-\d{5}-of-.*$"}},
    }
    columns = [
        _column(feature, f"{name}/{column}", {**source, "extract": {"column": column}}, "")
        for column, feature in config.features.items()
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": TASKS[name].summary,
        "field": [split, *columns],
    }


def _field(path: str, meaning: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": path, "name": path.rpartition("/")[2], "description": meaning}


def _column(feature: Any, path: str, source: dict[str, Any], step: str) -> dict[str, Any]:
    """Return a column's field, and in it those of its parts; ``step`` is the JSON path from the column to the part.

    A list in a list, as the messages of conversations, is told as the specification has it. Its reader, mlcroissant
    1.1.1, then gives the first of the inner list only.
    """
    inner = feature.feature if isinstance(feature, List) else feature
    name = path.rpartition("/")[2]
    field = _field(path, COLUMNS[name]) | ({"repeated": True} if isinstance(feature, List) else {})
    if isinstance(inner, dict):
        ahead = f"{step}[*]." if step else ""
        return {
            **field,
            "subField": [_column(part, f"{path}/{each}", source, ahead + each) for each, part in inner.items()],
        }
    step = "bytes" if isinstance(inner, Image) else step
    kind = "sc:ImageObject" if isinstance(inner, Image) else _TYPES[inner.dtype]
    return {**field, "dataType": kind, "source": source | ({"transform": {"jsonPath": step}} if step else {})}


def _address(repo_id: str | None) -> str:
    return f"https://huggingface.co/datasets/{repo_id}/resolve/main/" if repo_id else ""


def _repo(repo_id: str | None) -> Iterator[dict[str, Any]]:
    """Yield the repository on the Hub as Croissant's reader wants it: to be cloned."""
    if repo_id:
        yield {
            "@type": "cr:FileObject",
            "@id": "repo",
            "name": "repo",
            "description": "The repository on the Hub.",
            "contentUrl": f"https://huggingface.co/datasets/{repo_id}",
            "encodingFormat": "git+https",
            "sha256": "https://github.com/mlcommons/croissant/issues/80",
        }
