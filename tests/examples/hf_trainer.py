"""A text classifier of transformers in the shape that its Trainer trains: batches are dicts, the model has the loss.

A model made of a config, a collator that pads, a loop that takes `outputs.loss`, no weight decay on norms and biases, a
linear schedule with warm-up; with accelerate installed, the same by transformers' own Trainer (`--trainer`).
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import distributed, nn
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

LENGTH, VOCABULARY = 24, 257
GOOD, BAD = ("fine", "lovely", "bright", "kind"), ("dull", "poor", "gloomy", "rude")
THINGS = ("film", "book", "song", "meal", "walk")


def config() -> BertConfig:
    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        num_labels=2,
        id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
    )


def build(**_known: object) -> nn.Module:
    """Answers a ModelOutput, with `loss` where it is given `labels`."""
    model: nn.Module = BertForSequenceClassification(config())
    return model


def rows() -> list[dict[str, Any]]:
    """Each text once, in an order of its own."""
    made = [
        {"text": f"a {word} {thing}, {more}", "label": label}
        for label, words in enumerate((BAD, GOOD))
        for word in words
        for thing in THINGS
        for more in words
    ]
    order = torch.randperm(len(made), generator=torch.Generator().manual_seed(0)).tolist()
    return [made[index] for index in order]


def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Bytes as tokens, filled up to the longest of the batch."""
    texts = [list(one["text"].encode())[:LENGTH] for one in batch]
    longest = max(map(len, texts))
    return {
        "input_ids": torch.tensor([text + [256] * (longest - len(text)) for text in texts]),
        "attention_mask": torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts]),
        "labels": torch.tensor([one["label"] for one in batch]),
    }


def batches(data: list[dict[str, Any]], size: int) -> Iterator[dict[str, torch.Tensor]]:
    for start in range(0, len(data) - size + 1, size):
        yield collate(data[start : start + size])


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """As Trainer's create_optimizer has them."""
    plain = {name for name, _ in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name}
    return [
        {"params": [p for n, p in model.named_parameters() if n not in plain], "weight_decay": 0.01},
        {"params": [p for n, p in model.named_parameters() if n in plain], "weight_decay": 0.0},
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_train_epochs", type=int, default=12)
    parser.add_argument("--per_device_train_batch_size", type=int, default=8)
    parser.add_argument("--trainer", action="store_true", help="by transformers' Trainer, which needs accelerate")
    args, _unknown = parser.parse_known_args()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    torch.manual_seed(42)
    made, model = rows(), build()
    training, held_out = made[:128], made[128:]
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if args.trainer:
        by_trainer(model, training, args)
    else:
        if several:
            distributed.init_process_group("gloo")
        by_hand(model, training[rank::size], args, several)
    model.eval()
    with torch.no_grad():
        batch = collate(held_out)
        outputs = model(**batch)
        accuracy = float((outputs.logits.argmax(-1) == batch["labels"]).float().mean())
    if rank == 0:
        print({"eval_loss": float(outputs.loss), "eval_accuracy": accuracy}, flush=True)
        write(Path(os.environ.get("SLIPWAY_OUTPUT_DIR", "out")), model, accuracy)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def by_hand(model: nn.Module, training: list[dict[str, Any]], args: argparse.Namespace, several: bool) -> None:
    learner = nn.parallel.DistributedDataParallel(model) if several else model
    optimizer = torch.optim.AdamW(groups(model), lr=3e-3)
    steps = args.num_train_epochs * (len(training) // args.per_device_train_batch_size)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    learner.train()
    for _ in range(args.num_train_epochs):
        for batch in batches(training, args.per_device_train_batch_size):
            loss = learner(**batch).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


def by_trainer(model: nn.Module, training: list[dict[str, Any]], args: argparse.Namespace) -> None:
    from transformers import Trainer, TrainingArguments

    asked = TrainingArguments(
        output_dir=os.environ.get("SLIPWAY_CHECKPOINT_DIR", "out/states"),
        num_train_epochs=args.num_train_epochs,
        per_device_train_batch_size=args.per_device_train_batch_size,
        learning_rate=3e-3,
        save_strategy="epoch",
        save_total_limit=2,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Trainer(model=model, args=asked, train_dataset=training, data_collator=collate)
    trainer.train(resume_from_checkpoint=any(Path(asked.output_dir).glob("checkpoint-*")) or None)


def write(folder: Path, model: nn.Module, accuracy: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: one.contiguous() for name, one in model.state_dict().items()}, folder / "model.safetensors")
    description = {
        "task": "text-classification",
        "architecture": {"name": "hf_trainer:build"},
        "signature": {
            "inputs": [
                {"name": "input_ids", "dtype": "int64", "shape": ["batch", "tokens"]},
                {"name": "attention_mask", "dtype": "int64", "shape": ["batch", "tokens"]},
            ],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", 2]}],
        },
        "labels": ["bad", "good"],
        "metrics": {"accuracy": accuracy},
    }
    (folder / "artifact.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
