"""Train a tiny LLaVA on streamed rows, stop at any moment, and go on with the very next row.

    python docs/examples/train_streaming.py --out run
    torchrun --standalone --nproc-per-node 2 docs/examples/train_streaming.py --out run

It runs on a CPU in less than a minute, on the sample corpus, and downloads nothing. Started again with the same --out
it goes on behind the last checkpoint. Every step prints a line of JSON: the loss and which rows it was made of.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from datasets.distributed import split_dataset_by_node
from tiny_llava import model_of, processor_of, tokenizer_of
from torch.nn.parallel import DistributedDataParallel

from svit_datasets import load_dataset, merge_states, stream
from svit_datasets.chat import ChatRenderer, Collator
from svit_datasets.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import LlavaProcessor

RANK, RANKS = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--data-dir", type=Path, help="folder with SVIT's files; a sample is written if you name none")
    parser.add_argument("--reader", choices=["stream", "datasets"], default="stream")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=8, help="rows a rank and step")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--save-every", type=int, default=5, help="steps")
    return parser.parse_args()


def open_rows(args: argparse.Namespace) -> Any:
    """Return this rank's rows: an iterable with set_epoch, state_dict and load_state_dict."""
    options = {"data_dir": args.data_dir, "rows": "conversation", "cache_dir": args.out / "cache"}
    if args.reader == "stream":
        return stream("conversation", order="shuffled", rank=RANK, world_size=RANKS, tail="drop_last", **options)
    rows = load_dataset("svit", "conversation", split="train", streaming=True, **options)
    return split_dataset_by_node(rows, RANK, RANKS)


def batches(rows: Any, size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield lists of rows, epoch after epoch; nothing is read ahead, so the state of the rows is that of the batch."""
    while True:
        epoch = iter(rows)
        while batch := list(islice(epoch, size)):
            yield batch
        rows.set_epoch(rows.epoch + 1)


def make_processor(args: argparse.Namespace) -> LlavaProcessor:
    """Train the tokenizer on the corpus; the same on every rank and after a restart."""
    rows = stream("conversation", data_dir=args.data_dir, cache_dir=args.out / "cache", decode=None)
    talks = (talk for row in rows for talk in row["conversations"])
    return processor_of(tokenizer_of(message["content"] for talk in talks for message in talk["messages"]))


def save(path: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, rows: Any) -> None:
    """Write model, optimizer and the data state of every rank; the file is there whole or not at all."""
    states: list[Any] = [None] * RANKS
    if RANKS > 1:
        dist.all_gather_object(states, rows.state_dict())
    else:
        states = [rows.state_dict()]
    if RANK == 0:
        part = path.with_suffix(".part")
        torch.save(
            {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "data": states}, part
        )
        part.replace(path)


def load(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, rows: Any, reader: str) -> int:
    """Go on from a checkpoint, if there is one; returns how many steps were done."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    # merged states of a stream fit any number of ranks, those of `datasets` the same number only
    rows.load_state_dict(merge_states(saved["data"]) if reader == "stream" else saved["data"][RANK])
    return int(saved["step"])


def main() -> None:
    """Train, from the checkpoint on if there is one."""
    args = arguments()
    if RANKS > 1:
        dist.init_process_group("gloo")
    if args.data_dir is None:
        args.data_dir = args.out / "sample"
        if RANK == 0 and not args.data_dir.exists():
            write_sample(args.data_dir, images=48)
    if RANKS > 1:
        dist.barrier()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    processor = make_processor(args)
    model = model_of(processor)
    # LLaVA takes the last but one layer of its vision tower, so some weights have no part in the loss
    trained = DistributedDataParallel(model, find_unused_parameters=True) if RANKS > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    collate = Collator(ChatRenderer(processor))
    rows = open_rows(args)
    checkpoint = args.out / "checkpoint.pt"
    done = load(checkpoint, model, optimizer, rows, args.reader)
    batch_of = batches(rows, args.batch_size)
    for step in range(done + 1, args.steps + 1):
        batch = next(batch_of)
        loss = trained(**collate(batch)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        told = {"step": step, "rank": RANK, "loss": round(loss.item(), 4), "rows": [row["id"] for row in batch]}
        print(json.dumps(told) + "\n", end="", flush=True)
        if step % args.save_every == 0:
            save(checkpoint, step, model, optimizer, rows)
    if RANKS > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
