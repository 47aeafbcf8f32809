"""Rows and a renderer in; a padded batch out, as a model's forward takes it.

`renderer` says what a row is in ids, `processors` what its photo is in numbers; here they are only put side by side.
Arrays are numpy's; where torch is imported already they become tensors, without a copy.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.chat.processors import TOKEN_INPUTS
from svit_datasets.errors import EncodeError, OptionError, SvitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from svit_datasets.chat.renderer import ChatRenderer

__all__ = ["Collator"]

_SIDES = ("right", "left")
_TENSORS = ("auto", "np", "pt")
_FILL = {"attention_mask": 0, "labels": -100, **dict.fromkeys(TOKEN_INPUTS, 0)}  # input_ids: the tokenizer's own


class Collator:
    """Makes a batch of rows; give it to a DataLoader as ``collate_fn``, or call it with a list of rows.

    The batch holds ``input_ids``, ``attention_mask`` and ``labels``, each (rows, longest), int64; and with a processor
    what it makes of the photos: ``pixel_values`` and their companions, float32 as a rule, one after another along the
    first axis, as the models want them. Where photos of one batch have different shapes, as with Idefics3's tiles, the
    smaller ones are filled up with zeros behind. Rows without a photo have no part in these; a batch without any photo
    does not have the keys. ``labels`` are -100 on all padding; what is not padding is what ``renderer.encode`` gives.

    Args:
        renderer: turns a row into ids; made from a processor, it also turns the photo into the model's inputs.
        processor: of transformers, where the renderer was made from its tokenizer and not from itself.
        padding_side: "right" or "left".
        pad_to_multiple_of: makes the length of a batch a multiple of this many ids; 8 or 64 suit some hardware.
        max_length: ids a row at most, padding not counted; None: as the renderer has it. Whole rounds are dropped from
            the end, never part of one, and never an image.
        return_tensors: "np", "pt" (torch), or "auto": torch's if torch is imported already, else numpy's.

    Raises:
        OptionError: an option has no such value.

    Examples:
        >>> collate = Collator(ChatRenderer(processor), pad_to_multiple_of=8)  # doctest: +SKIP
        >>> loader = DataLoader(stream("conversation"), batch_size=8, collate_fn=collate)  # doctest: +SKIP
        >>> for batch in loader:  # doctest: +SKIP
        ...     loss = model(**batch).loss
    """

    def __init__(
        self,
        renderer: ChatRenderer,
        processor: Any = None,
        *,
        padding_side: str = "right",
        pad_to_multiple_of: int | None = None,
        max_length: int | None = None,
        return_tensors: str = "auto",
    ) -> None:
        for option, value, allowed in (
            ("padding_side", padding_side, _SIDES),
            ("return_tensors", return_tensors, _TENSORS),
        ):
            if value not in allowed:
                raise OptionError(f"{option}={value!r} is none of {', '.join(map(repr, allowed))}.")
        for option, number in (("pad_to_multiple_of", pad_to_multiple_of), ("max_length", max_length)):
            if number is not None and number < 1:
                raise OptionError(f"{option}={number!r} is not allowed: give 1 or more, or None.")
        self._renderer = renderer
        self._processor = renderer.target.processor if processor is None else processor
        self._side = padding_side
        self._multiple = pad_to_multiple_of or 1
        self._max_length = max_length
        self._tensors = return_tensors

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch of rows.

        Args:
            rows: of `stream`, `mix` or `load_dataset`, their images PIL images, arrays (height, width, 3) of uint8, or
                bytes; or what ``renderer.encode`` made of such rows, so that `datasets` can do it beforehand.

        Raises:
            EncodeError: there is no row, a row cannot be encoded, or photos do not go together.
            SvitError: as ``renderer.encode`` raises, with the row in front.
        """
        if not rows:
            raise EncodeError("A batch of no rows was asked for.")
        encoded = [self._encoded(number, row) for number, row in enumerate(rows)]
        length = max(len(one["input_ids"]) for one in encoded)
        length += -length % self._multiple
        fill = {"input_ids": self._pad_id(), **_FILL}
        batch = {name: self._padded(encoded, name, fill[name], length) for name in fill if name in encoded[0]}
        for name in dict.fromkeys(name for one in encoded for name in one):
            if name not in fill and name != "assistant_mask":
                arrays = [_array(one[name]) for one in encoded if one.get(name) is not None]
                if arrays:
                    batch[name] = _joined(name, arrays)
        return self._as_tensors(batch)

    def _encoded(self, number: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if "input_ids" in row:
            return row
        try:
            return self._renderer.encode_with(self._processor, row, max_length=self._max_length)
        except SvitError as error:
            name = row.get("id", row.get("image_id"))
            raise type(error)(f"Row {number} of the batch (id {name!r}): {error}") from error

    def _pad_id(self) -> int:
        """Return what is written where the attention mask is 0 anyway: the pad token, else the end of a text."""
        encoder = self._renderer.target.encoder
        known = (getattr(encoder, name, None) for name in ("pad_id", "eos_id"))
        return next((token for token in known if token is not None), 0)

    def _padded(self, rows: Sequence[Mapping[str, Any]], name: str, value: int, length: int) -> np.ndarray[Any, Any]:
        padded = np.full((len(rows), length), value, dtype=np.int64)
        for number, row in enumerate(rows):
            values = row[name]
            if self._side == "right":
                padded[number, : len(values)] = values
            else:
                padded[number, length - len(values) :] = values
        return padded

    def _as_tensors(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        torch = sys.modules.get("torch")
        if self._tensors == "pt" and torch is None:
            raise OptionError('return_tensors="pt" makes tensors of torch: import torch first.')
        if self._tensors == "np" or torch is None:
            return batch
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def _array(value: Any) -> np.ndarray[Any, Any]:
    """Return an array; of the nested lists that `datasets` keeps arrays as, one of the precision they had."""
    array = np.asarray(value)
    return array.astype(np.float32) if isinstance(value, list) and array.dtype == np.float64 else array


def _joined(name: str, arrays: Iterable[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return arrays one after another along the first axis; the others are filled up with zeros to the largest."""
    arrays = list(arrays)
    if len({array.ndim for array in arrays}) != 1:
        raise EncodeError(f"The processor gives {name} of different dimensions for the photos of one batch.")
    shape = np.max([array.shape for array in arrays], axis=0)
    joined = np.zeros((sum(len(array) for array in arrays), *shape[1:]), dtype=arrays[0].dtype)
    at = 0
    for array in arrays:
        joined[(slice(at, at + len(array)), *map(slice, array.shape[1:]))] = array
        at += len(array)
    return joined
