"""A character-level GPT in one file, in the shape of minGPT and nanoGPT: output layer and embedding are one tensor.

Plain PyTorch: one process, or several by torchrun. It goes on from its own checkpoint, where it finds one.
"""

import argparse
import json
import math
import os
from pathlib import Path

import torch
from safetensors.torch import save_model
from torch import distributed, nn
from torch.nn import functional

TEXT = "".join(f"{number} bottles stand on the wall, {number} bottles of milk.\n" for number in range(200, 0, -1))
CHARACTERS = sorted(set(TEXT))


class Block(nn.Module):
    """Attention and a multilayer perceptron, each beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, length, width = x.shape
        shape = (count, length, self.heads, width // self.heads)
        q, k, v = (one.view(shape).transpose(1, 2) for one in self.c_attn(self.ln_1(x)).chunk(3, dim=-1))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(seen.transpose(1, 2).reshape(count, length, width))
        found: torch.Tensor = x + self.mlp(self.ln_2(x))
        return found


class GPT(nn.Module):
    """Tokens int64 [n, length] in, logits [n, length, vocabulary] out."""

    def __init__(self, vocabulary: int, length: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.apply(self._begin)
        self.lm_head.weight = self.wte.weight

    @staticmethod
    def _begin(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        found: torch.Tensor = self.lm_head(self.ln_f(x))
        return found


def build(
    vocabulary: int, length: int, layers: int = 2, heads: int = 2, width: int = 48, **_known: object
) -> nn.Module:
    """Also what `recipe.model: {name: custom, callable: "min_gpt:build"}` calls."""
    return GPT(vocabulary, length, layers, heads, width)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--block-size", type=int, default=32)
    options = parser.parse_args()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        distributed.init_process_group("gloo")
    rank = distributed.get_rank() if several else 0
    torch.manual_seed(0)
    model = build(len(CHARACTERS), options.block_size)
    rate = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    kept, begin = Path(os.environ.get("SLIPWAY_CHECKPOINT_DIR", "out")) / "ckpt.pt", 0
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        rate.load_state_dict(state["optimizer"])
        begin = state["step"]
        print(f"resuming from step {begin}", flush=True)
    learner = nn.parallel.DistributedDataParallel(model) if several else model
    tokens = torch.tensor([CHARACTERS.index(one) for one in TEXT])
    loss = torch.zeros(())
    for step in range(begin, options.steps):
        for group in rate.param_groups:
            group["lr"] = 3e-3 * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        dice = torch.Generator().manual_seed(1000 * step + rank)
        starts = torch.randint(len(tokens) - options.block_size - 1, (16,), generator=dice)
        window = tokens[starts[:, None] + torch.arange(options.block_size + 1)]
        loss = functional.cross_entropy(learner(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        rate.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate.step()
        if rank == 0 and (step + 1) % 50 == 0:
            print(f"iter {step + 1}: loss {float(loss.detach()):.4f}", flush=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"model": model.state_dict(), "optimizer": rate.state_dict(), "step": step + 1}, f"{kept}.new")
            Path(f"{kept}.new").rename(kept)
    if rank == 0:
        write(Path(os.environ.get("SLIPWAY_OUTPUT_DIR", "out")), model, options.block_size, float(loss.detach()))
    if several:
        distributed.destroy_process_group()


def write(folder: Path, model: nn.Module, length: int, loss: float) -> None:
    """save_model, not save_file: of the tied tensor one name is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, str(folder / "model.safetensors"))
    description = {
        "task": "text-generation",
        "architecture": {"name": "min_gpt:build", "arguments": {"vocabulary": len(CHARACTERS), "length": length}},
        "signature": {
            "inputs": [{"name": "tokens", "dtype": "int64", "shape": ["batch", length]}],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", length, len(CHARACTERS)]}],
        },
        "metrics": {"loss": loss},
    }
    (folder / "artifact.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
