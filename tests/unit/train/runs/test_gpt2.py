"""Our GPT-2 is the published one: the same numbers as transformers' own language model with the same weights."""

import pytest
import torch

from workloads import models


def test_logits_are_those_of_the_published_model() -> None:
    library = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = models.build("gpt2", {"vocabulary": 101, "length": 24, "layers": 3, "hidden": 48, "heads": 4}).eval()
    config = library.GPT2Config(vocab_size=101, n_positions=24, n_layer=3, n_embd=48, n_head=4)
    theirs = library.GPT2LMHeadModel(config).eval()
    state = ours.state_dict()
    theirs.load_state_dict({**state, "lm_head.weight": state["transformer.wte.weight"]})
    tokens = torch.randint(101, (5, 24))
    with torch.no_grad():
        assert torch.allclose(ours(tokens), theirs(tokens).logits, atol=1e-5)
        nobody = torch.cat([tokens[:, :20], (tokens[:, 20:] + 1) % 101], 1)
        assert torch.equal(ours(nobody)[:, :20], ours(tokens)[:, :20]), "a token has seen the ones after it"
