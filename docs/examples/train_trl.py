"""Train a tiny LLaVA with TRL's SFTTrainer on rows of SVIT.

    python docs/examples/train_trl.py --out run

It runs on a CPU in less than a minute, on the sample corpus, and downloads nothing. `ChatRenderer.messages` brings the
rows into TRL's form; all else is TRL's: its collator encodes, and `assistant_only_loss` masks by the generation tags of
the processor's chat template, which most stock templates lack. With `--collator svit` the trainer is given
`data_collator=Collator(renderer)` instead, whose mask needs no tags.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiny_llava import model_of, processor_of, tokenizer_of
from transformers import set_seed
from trl import SFTConfig, SFTTrainer

from svit_datasets import load_dataset, stream
from svit_datasets.chat import ChatRenderer, Collator
from svit_datasets.sample import write_sample

if TYPE_CHECKING:
    from transformers import LlavaProcessor


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainer's files")
    parser.add_argument("--data-dir", type=Path, help="folder with SVIT's files; a sample is written if you name none")
    parser.add_argument("--collator", choices=["trl", "svit"], default="trl")
    parser.add_argument("--steps", type=int, default=20)
    return parser.parse_args()


def make_processor(args: argparse.Namespace) -> LlavaProcessor:
    """Train the tokenizer on the corpus."""
    rows = stream("conversation", data_dir=args.data_dir, cache_dir=args.out / "cache", decode=None)
    talks = (talk for row in rows for talk in row["conversations"])
    return processor_of(tokenizer_of(message["content"] for talk in talks for message in talk["messages"]))


def open_rows(args: argparse.Namespace) -> Any:
    """Return a row a conversation, read while training."""
    return load_dataset(
        "svit",
        "conversation",
        split="train",
        streaming=True,
        rows="conversation",
        data_dir=args.data_dir,
        cache_dir=args.out / "cache",
    )


def main() -> None:
    """Train; the trainer prints the loss."""
    args = arguments()
    if args.data_dir is None:
        args.data_dir = args.out / "sample"
        write_sample(args.data_dir, images=48)
    set_seed(0)
    processor = make_processor(args)
    renderer = ChatRenderer(processor)
    rows = open_rows(args)
    if args.collator == "trl":
        rows = rows.map(renderer.messages, fn_kwargs={"style": "trl"}, remove_columns=rows.column_names)
    config = SFTConfig(
        output_dir=str(args.out),
        max_steps=args.steps,
        per_device_train_batch_size=8,
        learning_rate=3e-3,
        assistant_only_loss=args.collator == "trl",
        remove_unused_columns=args.collator == "trl",
        max_length=None,  # by default TRL cuts at 1,024 ids
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    trainer = SFTTrainer(
        model_of(processor),
        config,
        train_dataset=rows,
        processing_class=processor,
        data_collator=Collator(renderer) if args.collator == "svit" else None,
    )
    trainer.train()


if __name__ == "__main__":
    main()
