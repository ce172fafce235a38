"""Memory model against the measured peak: bytes that `strategy: Auto` counts with, and those that PyTorch has taken."""

from __future__ import annotations

from typing import Any

from tests.gpu.step import Row

WITHIN = 0.20  # as README says
BIG = 1 << 60


def _two_steps(model: Any, tokens: Any) -> float:
    """Loss of the second one."""
    import torch

    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=1e-4), torch.tensor(0.0)
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


def rows(device: str, small: bool) -> list[Row]:
    """A transformer with AdamW, all in 32 bits, by DDP on one GPU. On a CPU nothing tells a peak: it is None."""
    import torch

    from slipway.api.training.memory import StrategyName, Workload, table

    layers, hidden, heads, sequence, vocabulary, batch = (
        (2, 64, 2, 16, 128, 2) if small else (12, 1024, 16, 512, 32000, 8)
    )
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(
        hidden, heads, 4 * hidden, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
    )
    blocks = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    model = torch.nn.Sequential(
        torch.nn.Embedding(vocabulary, hidden), blocks, torch.nn.Linear(hidden, vocabulary, bias=False)
    ).to(device)
    parameters = sum(value.numel() for value in model.parameters())
    tokens = torch.randint(0, vocabulary, (batch, sequence), device=device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    loss = _two_steps(model, tokens)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    work = Workload(
        parameters=parameters, processes=1, micro_batch=batch, sixteen_bit=False, layers=layers, hidden=hidden,
        heads=heads, sequence=sequence, vocabulary=vocabulary,
    )  # fmt: skip
    counted = next(row for row in table(work, BIG) if row.name is StrategyName.DDP).device_bytes
    return [
        {
            "what": "transformer, fp32, DDP",
            "ok": peak is None or abs(counted / peak - 1) <= WITHIN,
            "parameters": parameters,
            "countedBytes": counted,
            "peakBytes": peak,
            "countedOverPeak": round(counted / peak, 3) if peak else None,
            "loss": round(loss, 4),
        }
    ]
