"""What is read from .npz files, and what is refused in words."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.api.quantization.evaluation import Evaluation
from workloads.errors import BadInput
from workloads.onnx.file import Port
from workloads.onnx.samples.array_samples import BATCH_BYTES, ArraySamples
from workloads.onnx.samples.sources import choose, evaluation_samples

IDS, SCALE = Port("ids", "int64", (None, None)), Port("scale", "float32", (None, 2))


def write(path: Path, count: int, length: int, **other: Any) -> Path:
    arrays = {
        "ids": np.arange(count * length, dtype=np.int64).reshape(count, length),
        "scale": np.ones((count, 2), np.float32),
        "labels": np.zeros(count, np.int64),
    }
    np.savez(path, **{name: value for name, value in {**arrays, **other}.items() if value is not None})
    return path


def test_files_of_different_lengths_never_share_a_batch(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.npz", count, length) for i, (count, length) in enumerate([(3, 4), (2, 4), (5, 7)])]
    samples = ArraySamples(paths, [IDS, SCALE], "text", want_labels=True)
    assert len(samples) == 10
    batches = samples.batches(range(10), 4)
    assert batches == [[0, 1, 2, 3], [4], [5, 6, 7, 8], [9]]
    assert [samples.read(batch).feeds["ids"].shape for batch in batches] == [(4, 4), (1, 4), (4, 7), (1, 7)]
    assert samples.read([4]).feeds["ids"].tolist() == [[4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"ids": None}, "no array 'ids'"),
        ({"ids": np.zeros((2, 3), np.int32)}, "int32, the model takes int64"),
        ({"scale": np.zeros((2, 3), np.float32)}, r"shape \(2, 3\)"),
        ({"scale": np.array([[1, 2], [np.nan, 0]], np.float32)}, "sample 1 holds values that are not finite"),
        ({"scale": np.ones((5, 2), np.float32)}, "different numbers of samples"),
        ({"labels": None}, "accuracy needs the right answers"),
        ({"labels": np.zeros((2, 2))}, "one whole number per sample"),
        ({"ids": np.array([[1], [None]], dtype=object)}, "plain arrays"),
    ],
)
def test_refusals(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "data.npz", 2, 3, **other)
    with pytest.raises(BadInput, match=words):
        evaluation_samples(Evaluation(uri=path.as_uri()), [IDS, SCALE], None, want_labels=True)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no \.npz"):
        evaluation_samples(Evaluation(uri=tmp_path.as_uri()), [IDS], None, want_labels=False)


def test_the_choice_depends_on_the_seed_only() -> None:
    assert choose(1000, 10, 0) == choose(1000, 10, 0)
    assert choose(1000, 10, 0) != choose(1000, 10, 1)
    assert choose(5, 10, 3) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("form", ["stored", "compressed", "columns", "folder"])
def test_rows_are_those_of_numpy_in_any_order(tmp_path: Path, form: str) -> None:
    x, labels = np.random.default_rng(0).normal(size=(50, 3, 5)).astype(np.float32), np.arange(50) % 7
    path = tmp_path / "data.npz"
    if form == "folder":
        path = tmp_path
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "labels.npy", labels)
    else:
        save = np.savez_compressed if form == "compressed" else np.savez
        save(path, x=np.asfortranarray(x) if form == "columns" else x, labels=labels, more=np.zeros(9))
    ports = [Port("x", "float32", (None, 3, None))]
    samples = evaluation_samples(Evaluation(uri=path.as_uri()), ports, None, want_labels=True)
    for batch in ([0, 1, 2], [40, 41, 7, 8, 9, 3], [49], list(range(50)), [0]):
        read = samples.read(batch)
        np.testing.assert_array_equal(read.feeds["x"], x[batch])
        np.testing.assert_array_equal(read.labels, labels[batch])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_does_not_grow_with_the_samples_of_one_file(tmp_path: Path, save: Any) -> None:
    """It read every file whole: 2,000 samples took 60 times the memory of 32."""

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.npz"
        save(path, x=np.random.default_rng(0).normal(size=(count, 16384)).astype(np.float32))
        tracemalloc.start()
        samples = ArraySamples([path], [Port("x", "float32", (None, None))], "data", want_labels=False)
        for batch in samples.batches(range(count), 16):
            samples.read(batch)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(64), peak(1000)
    assert many < 2 * few, (few, many)  # of 16 times the data


def test_a_file_that_was_cut_is_refused_in_words(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((100, 50), np.float32))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="ends in the middle of a row"):
        ArraySamples([tmp_path], [Port("x", "float32", (None, 50))], "data", want_labels=False)


def test_one_file_is_in_memory_whatever_there_is(tmp_path: Path) -> None:
    """It kept every file whole, in every stage: memory grew with the data."""
    for number in range(12):
        np.savez(tmp_path / f"{number:02}.npz", x=np.full((4, 65536), number, np.float32), other=np.zeros(1 << 20))
    ports = [Port("x", "float32", (None, 65536))]
    tracemalloc.start()
    samples = ArraySamples(sorted(tmp_path.glob("*.npz")), ports, "data", want_labels=False)
    for batch in samples.batches(range(len(samples)), 64):
        samples.read(batch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * 4 * 65536 * 4 + BATCH_BYTES * 3, peak
    assert samples.read([4, 5]).feeds["x"][:, 0].tolist() == [1.0, 1.0]


def test_large_samples_come_in_small_batches(tmp_path: Path) -> None:
    np.savez(tmp_path / "clips.npz", x=np.zeros((40, 144000), np.float32))
    samples = ArraySamples([tmp_path / "clips.npz"], [Port("x", "float32", (None, None))], "clips", want_labels=False)
    batches = samples.batches(range(40), 64)
    assert max(len(batch) for batch in batches) * 144000 * 4 <= BATCH_BYTES
    assert sum(len(batch) for batch in batches) == 40
