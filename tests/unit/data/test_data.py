"""Loaders of real data: what they hold, their splits, and what they say about data that is wrong."""

import gzip
import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from slipway.api.common.sources import DatasetChoice
from tests.needs import need
from workloads import data, storage
from workloads.data.images import cifar10, fashion_mnist, image_folder
from workloads.errors import BadInput, Corrupt


def choose(name: str, uri: Path | None = None, limit: int | None = None) -> data.DataSet:
    return data.load(DatasetChoice(name=name, uri=uri.as_uri() if uri else None, limit=limit))  # type: ignore[arg-type]


def all_of(images: data.Images) -> tuple[np.ndarray, np.ndarray]:
    return images.batch(range(len(images)))


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    expected = load_digits()
    digits = choose("digits")
    pixels = np.concatenate([all_of(digits.training)[0], all_of(digits.held_out)[0]])
    labels = np.concatenate([all_of(digits.training)[1], all_of(digits.held_out)[1]])
    mine = sorted(zip(np.rint(pixels.reshape(-1, 64) * (16 / 255)).astype(int).tolist(), labels.tolist(), strict=True))
    theirs = sorted(zip(expected.data.astype(int).tolist(), expected.target.tolist(), strict=True))
    assert mine == theirs


def test_digits_split_is_stratified_and_fixed() -> None:
    digits = choose("digits")
    shares = np.bincount(all_of(digits.held_out)[1]) / (
        np.bincount(all_of(digits.held_out)[1]) + np.bincount(all_of(digits.training)[1])
    )
    assert np.abs(shares - 0.2).max() < 0.01
    # Written down so that no change of numpy or of this code can move samples between the two sets unnoticed.
    held_out = hashlib.sha256(all_of(digits.held_out)[0].tobytes()).hexdigest()
    assert held_out == "f070638c53c8035f473be6342d75fd5567ea02597d2cb4e9e01f60900aa5015f"


def test_normalised_training_images_have_mean_zero_and_deviation_one() -> None:
    from workloads.vision.preprocessing import normalise

    digits = choose("digits")
    values = normalise(all_of(digits.training)[0], digits.preprocessing)
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 1) < 1e-4


def test_limit_keeps_a_mixture_of_classes() -> None:
    digits = choose("digits", limit=100)
    labels = all_of(digits.training)[1]
    assert len(labels) == 100 == digits.reference.training_samples
    assert len(digits.held_out) == digits.reference.held_out_samples == 359
    assert len(set(labels.tolist())) == 10
    assert np.array_equal(labels, all_of(choose("digits", limit=100).training)[1])


def test_digits_have_no_uri(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no uri"):
        choose("digits", tmp_path)


def test_fashion_mnist_as_debian_installs_it() -> None:
    need("dataset-fashion-mnist", fashion_mnist.DEBIAN)
    clothes = choose("fashion-mnist")
    assert (len(clothes.training), len(clothes.held_out)) == (60000, 10000)
    assert np.bincount(all_of(clothes.held_out)[1]).tolist() == [1000] * 10
    # The figures that its authors and everybody since give for it.
    assert clothes.preprocessing.mean == pytest.approx([0.2860], abs=1e-4)
    assert clothes.preprocessing.std == pytest.approx([0.3530], abs=1e-4)
    assert clothes.labels[all_of(clothes.training)[1][0]] == "Ankle boot"


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_fashion(folder: Path, training: int = 6, suffix: str = ".gz") -> None:
    for prefix, count in (("train", training), ("t10k", 3)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", np.full((count, 28, 28), 7))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_fashion_mnist_from_a_folder(tmp_path: Path, suffix: str) -> None:
    write_fashion(tmp_path, suffix=suffix)
    clothes = choose("fashion-mnist", tmp_path)
    assert all_of(clothes.training)[1].tolist() == [0, 1, 2, 3, 4, 5]
    assert clothes.reference.digest == storage.tree_digest(storage.digests_of(tmp_path))


def test_fashion_mnist_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no train-images-idx3-ubyte\.gz"):
        choose("fashion-mnist", tmp_path)
    write_fashion(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(5))
    with pytest.raises(Corrupt, match="do not belong together"):
        choose("fashion-mnist", tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Corrupt, match="not a whole gzip file"):
        choose("fashion-mnist", tmp_path)
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc"))
    with pytest.raises(Corrupt, match="3 bytes of data"):
        choose("fashion-mnist", tmp_path)


def cifar_batches(count: int) -> list[tuple[np.ndarray, list[int]]]:
    random = np.random.default_rng(0)
    return [
        (random.integers(0, 256, (count, 3072)).astype(np.uint8), random.integers(0, 10, count).tolist())
        for _ in range(6)
    ]


def as_python2_wrote_it(pixels: np.ndarray, labels: list[int]) -> bytes:
    """The opcodes of the published batches: protocol 2, byte strings, an array of u1 by numpy.core.multiarray."""
    binary = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01M"
        + struct.pack("<H", len(pixels))
        + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T"
        + struct.pack("<I", len(binary))
        + binary
        + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + numbers + b"u."


def test_cifar10_in_both_forms(tmp_path: Path) -> None:
    batches = cifar_batches(5)
    binary, pickled = tmp_path / "binary", tmp_path / "above" / "cifar-10-batches-py"
    binary.mkdir()
    pickled.mkdir(parents=True)
    for name, (pixels, labels) in zip([*cifar10.TRAINING, *cifar10.HELD_OUT], batches, strict=True):
        records = np.concatenate([np.asarray(labels, np.uint8)[:, None], pixels], axis=1)
        (binary / f"{name}.bin").write_bytes(records.tobytes())
        (pickled / name).write_bytes(as_python2_wrote_it(pixels, labels))
    # The hand-made form is what numpy itself would load.
    trusted = pickle.loads((pickled / "test_batch").read_bytes(), encoding="bytes")
    assert np.array_equal(trusted[b"data"], batches[5][0])
    one, two = choose("cifar10", binary), choose("cifar10", pickled.parent)
    for mine, other in ((one.training, two.training), (one.held_out, two.held_out)):
        assert np.array_equal(all_of(mine)[0], all_of(other)[0])
        assert np.array_equal(all_of(mine)[1], all_of(other)[1])
    assert np.array_equal(all_of(one.training)[0][7], batches[1][0][2].reshape(3, 32, 32))
    assert one.augmentation.shift == 4


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (os.environ["EVIL"],)


def test_cifar10_pickles_run_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "was-here"))
    for name in (*cifar10.TRAINING, *cifar10.HELD_OUT):
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Evil(), b"labels": [1]}, protocol=2))
    with pytest.raises(Corrupt, match="has no use for"):
        choose("cifar10", tmp_path)
    assert not (tmp_path / "was-here").exists()


def test_cifar10_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="data_batch_1"):
        choose("cifar10", tmp_path)
    for name in (*cifar10.TRAINING, *cifar10.HELD_OUT):
        (tmp_path / f"{name}.bin").write_bytes(bytes(3073))
    choose("cifar10", tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(3072))
    with pytest.raises(Corrupt, match="whole number of images"):
        choose("cifar10", tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(b"\x0b" + bytes(3072))
    with pytest.raises(Corrupt, match="label"):
        choose("cifar10", tmp_path)


def write_picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_image_folder_with_its_own_split(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 2)):
        for number in range(count):
            write_picture(tmp_path / part / "cat" / f"{number}.png", (200, 0, 0))
            write_picture(tmp_path / part / "dog" / "deep" / f"{number}.jpg", (0, 0, 200))
    pictures = choose("image-folder", tmp_path)
    assert pictures.labels == ("cat", "dog")
    assert all_of(pictures.training)[1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    pixels = all_of(pictures.held_out)[0]
    assert pixels.shape == (4, 3, 10, 12)
    assert pixels[0, :, 0, 0].tolist() == [200, 0, 0]
    assert pictures.reference.covers == "content"


def test_image_folder_holds_out_a_fifth(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(10):
            write_picture(tmp_path / label / f"{number}.png", (number, 0, 0), (300, 260))
    pictures = choose("image-folder", tmp_path, limit=6)
    assert (len(pictures.training), len(pictures.held_out)) == (6, 4)
    assert np.bincount(all_of(pictures.held_out)[1]).tolist() == [2, 2]
    assert all_of(pictures.held_out)[0].shape[1:] == (3, 224, 224)


def test_a_large_image_folder_is_known_by_its_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "HASHED", 10)
    for label in ("a", "b"):
        for number in range(5):
            write_picture(tmp_path / label / f"{number}.png", (number, 0, 0))
    first = choose("image-folder", tmp_path).reference
    assert first.covers == "listing"
    write_picture(tmp_path / "a" / "5.png", (9, 9, 9))
    assert choose("image-folder", tmp_path).reference.digest != first.digest


def test_image_folders_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="one subfolder per class"):
        choose("image-folder", tmp_path)
    write_picture(tmp_path / "train/cat/1.png", (1, 2, 3))
    write_picture(tmp_path / "val/dog/1.png", (1, 2, 3))
    with pytest.raises(BadInput, match="same classes"):
        choose("image-folder", tmp_path)
    (tmp_path / "val/dog").rename(tmp_path / "val/cat")
    (tmp_path / "val/cat/2.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"2\.png: this picture cannot be decoded"):
        all_of(choose("image-folder", tmp_path).held_out)
    (tmp_path / "train/empty").mkdir()
    (tmp_path / "val/empty").mkdir()
    with pytest.raises(BadInput, match="no pictures"):
        choose("image-folder", tmp_path)
