"""A Llama of 130 thousand parameters and one of six million, trained from nothing and kept in the cache.

`python -m tests.models.language.small large` trains the second one beforehand. Both are folders as Hugging Face lays
them out; the cache's name holds a digest of this recipe, so that a changed recipe trains anew.
"""

import fcntl
import hashlib
import math
import os
import subprocess
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from tests.cluster.venv import cache
from tests.models.language import corpus

TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]
STAMP = "complete"


@dataclass(frozen=True)
class Recipe:
    """Sizes of the model and length of its training."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    steps: int
    batch: int
    length: int
    rate: float
    long: bool


RECIPES = {
    "small": Recipe(512, 64, 192, 2, 2, 1, 240, 8, 64, 1e-2, False),
    "large": Recipe(4096, 256, 768, 6, 8, 4, 900, 8, 256, 3e-3, True),
}


def folder(name: str = "small") -> Path:
    """The trained model's folder; trained first where the cache has none, by a process of its own."""
    source = Path(__file__).read_bytes() + repr(astuple(RECIPES[name])).encode()
    where = cache() / "peers" / f"llm-{name}-{hashlib.sha256(source).hexdigest()[:12]}"
    where.parent.mkdir(parents=True, exist_ok=True)
    with where.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / STAMP).exists():
            root = str(Path(__file__).resolve().parents[3])
            command = [sys.executable, "-m", "tests.models.language.small", name, str(where)]
            path = os.pathsep.join([f"{root}/operator", root])
            subprocess.run(command, check=True, cwd=root, env={**os.environ, "PYTHONPATH": path})
    return where


def _tokenizer(texts: list[str], size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet)
    made.train_from_iterator(texts, trainer)
    return made


def train(recipe: Recipe, where: Path) -> None:
    """Tokenizer and model, written to the folder; the stamp last."""
    import torch

    from workloads.libraries import transformers

    library = transformers("the tests' language model")
    torch.set_num_threads(1)  # beside other tests a second thread waits for the first most of the time
    texts = (corpus.long() if recipe.long else corpus.short()).training
    made = _tokenizer(texts, recipe.vocabulary)
    tokenizer = library.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=SPECIAL[0], bos_token=SPECIAL[0], pad_token=SPECIAL[1], model_max_length=512
    )
    tokenizer.chat_template = TEMPLATE
    ids = torch.tensor([one for found in made.encode_batch(texts) for one in (*found.ids, 0)])
    torch.manual_seed(0)
    sizes = {
        "vocab_size": recipe.vocabulary,
        "hidden_size": recipe.hidden,
        "intermediate_size": recipe.inner,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "num_key_value_heads": recipe.key_value_heads,
    }
    config = library.LlamaConfig(
        **sizes, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=1
    )
    model = library.LlamaForCausalLM(config)
    _learn(model, ids, recipe)
    model.save_pretrained(where)
    tokenizer.save_pretrained(where)
    (where / STAMP).touch()


def _learn(model: Any, ids: Any, recipe: Recipe) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.05, fused=True)
    generator, length = torch.Generator().manual_seed(1), recipe.length
    for step in range(recipe.steps):
        warm = min(1.0, (step + 1) / 20)
        factor = warm * (0.05 + 0.475 * (1 + math.cos(math.pi * step / recipe.steps)))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * factor
        starts = torch.randint(0, len(ids) - length - 1, (recipe.batch,), generator=generator).tolist()
        batch = torch.stack([ids[start : start + length] for start in starts])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 25 == 24:
            print(f"step {step + 1}/{recipe.steps}: loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        train(RECIPES[sys.argv[1]], Path(sys.argv[2]))
    else:
        print(folder(sys.argv[1] if len(sys.argv) > 1 else "small"))
