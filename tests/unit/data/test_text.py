"""Text as samples: tokens, blocks, classes; the files that people have."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.common.sources import DatasetChoice, ModelChoice
from workloads import data, models
from workloads.data import DataSet
from workloads.data.texts.text import Stream, TextSet, Tokenizer, labelled, stream
from workloads.errors import BadInput, Corrupt


def choose(name: str, **fields: Any) -> Any:
    return data.open_set(DatasetChoice(name=name, **fields))  # type: ignore[arg-type]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4), st.integers(2, 9))
def test_blocks_cover_the_text_without_overlap(texts: list[str], length: int) -> None:
    tokens = b"".join(text.encode() + b"|" for text in texts)
    found = stream(lambda: ((text,) for text in texts), Tokenizer(None), length, f"{texts}")
    assert len(found) == (len(tokens) - 1) // length
    if len(found):
        samples, targets = found.batch(range(len(found)))
        flat = np.where(samples.reshape(-1) == 256, ord("|"), samples.reshape(-1))
        assert bytes(flat.astype(np.uint8)) == tokens[: len(found) * length]
        assert (samples[:, 1:] == targets[:, :-1]).all()
        assert (samples.reshape(-1)[1:] == targets.reshape(-1)[:-1]).all()


def test_labelled_texts_are_cut_and_filled_up() -> None:
    found = labelled(["ab", "abcdef"], np.asarray([1, 0]), Tokenizer(None), 4)
    tokens, labels = found.batch([1, 0])
    assert tokens.tolist() == [[97, 98, 99, 100], [97, 98, 256, 256]]
    assert labels.tolist() == [0, 1]


def test_wikitext_files_and_a_lone_file(tmp_path: Path) -> None:
    (tmp_path / "wiki.train.tokens").write_text("a" * 101)
    (tmp_path / "wiki.valid.tokens").write_text("b" * 51)
    (tmp_path / "wiki.test.tokens").write_text("c" * 51)
    found = choose("text-files", uri=tmp_path.as_uri(), sequence_length=10)
    assert (len(found.training), len(found.held_out), found.labels) == (10, 5, ())
    assert (found.held_out.batch([0])[0] == ord("b")).all()
    lone = tmp_path / "book.txt"
    lone.write_text("".join(f"line {number}\n" for number in range(100)))
    alone = choose("text-files", uri=lone.as_uri(), sequence_length=5)
    text = bytes(alone.held_out.batch([0])[0].astype(np.uint8).reshape(-1))
    assert text == b"line "
    assert isinstance(alone.training, Stream)
    with pytest.raises(BadInput, match="too little training text for one sample of 4096 tokens"):
        choose("text-files", uri=lone.as_uri(), sequence_length=4096)
    lone.write_bytes(b"\xff\xff")
    with pytest.raises(BadInput, match="not UTF-8"):
        choose("text-files", uri=lone.as_uri())


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_tables(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    rows = [(f"text, {number}", "even" if number % 2 == 0 else "odd") for number in range(20)]
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows))
    else:
        mark = "," if suffix == ".csv" else "\t"
        path.write_text(f"text{mark}label\n" + "".join(f'"{text}"{mark}{label}\n' for text, label in rows))
    found = choose("text-table", uri=path.as_uri(), sequence_length=8)
    assert found.labels == ("even", "odd")
    assert (len(found.training), len(found.held_out)) == (16, 4)
    assert choose("text-table", uri=path.as_uri(), limit=5).reference.training_samples == 5
    path.write_text("nothing\nhere\n")
    with pytest.raises(BadInput, match=r"no column text and no column label|is not JSON"):
        choose("text-table", uri=path.as_uri())


def test_a_tokenizer_of_ones_own(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(library.models.WordLevel({"[UNK]": 0, "a": 1, "b": 2, "[PAD]": 3}, unk_token="[UNK]"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    found = Tokenizer(tmp_path.as_uri())
    assert (found.vocabulary, found.end) == (4, 3)
    assert found.encode("a b z").tolist() == [1, 2, 0]
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(Corrupt, match=r"not a tokenizer.json"):
        Tokenizer(tmp_path.as_uri())


@pytest.mark.parametrize("form", ["save_to_disk", "parquet", "json"])
def test_hugging_faces_forms(tmp_path: Path, form: str) -> None:
    library = pytest.importorskip("datasets")
    rows = {"text": [f"text {number}" for number in range(40)], "label": [number % 2 for number in range(40)]}
    features = library.Features({"text": library.Value("string"), "label": library.ClassLabel(names=["no", "yes"])})
    made = library.Dataset.from_dict(rows, features=features)
    folder = tmp_path / "set"
    folder.mkdir()
    if form == "save_to_disk":
        library.DatasetDict({"train": made}).save_to_disk(str(folder))
    elif form == "parquet":
        made.to_parquet(str(folder / "train.parquet"))
    else:
        made.to_json(str(folder / "train.jsonl"))
    found = choose("hugging-face", uri=folder.as_uri(), sequence_length=8)
    assert found.labels == (("0", "1") if form == "json" else ("no", "yes"))
    assert len(found.training) == 32
    unlabelled = made.remove_columns(["label"])
    plain = tmp_path / "language"
    library.DatasetDict({"train": unlabelled, "validation": unlabelled}).save_to_disk(str(plain))
    language = choose("hugging-face", uri=plain.as_uri(), sequence_length=8)
    assert language.labels == ()
    assert len(language.training) == len(language.held_out)


def test_a_data_set_with_a_program_in_it_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "data.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    (tmp_path / "loader.py").write_text("raise SystemExit('ran')")
    with pytest.raises(BadInput, match="expected save_to_disk's files"):
        choose("hugging-face", uri=tmp_path.as_uri())


def test_synthetic_data_is_the_same_everywhere() -> None:
    pictures = choose("synthetic", arguments={"samples": "100", "channels": "1", "height": "8", "width": "8"})
    assert isinstance(pictures, DataSet)
    one, other = pictures.training.batch([3, 4]), pictures.training.batch([3, 4])
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    tokens = choose("synthetic", arguments={"kind": "tokens", "vocabulary": "50"}, sequence_length=16)
    assert isinstance(tokens, TextSet)
    assert tokens.training.batch(range(9))[0].max() < 50
    with pytest.raises(BadInput, match="arguments of synthetic are"):
        choose("synthetic", arguments={"sample": "100"})


def test_model_and_data_must_fit_each_other() -> None:
    text, pictures = models.Text(8, 257, 256), models.Images(1, 8, 8, 10)
    with pytest.raises(BadInput, match="takes text, the data set holds pictures"):
        models.fit(ModelChoice(name="gpt2"), pictures)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="does not fit the data set, which holds text to be continued"):
        models.fit(ModelChoice(name="text-classifier"), text)  # type: ignore[arg-type]
    name, arguments = models.fit(ModelChoice(name="gpt2-large"), text)  # type: ignore[arg-type]
    assert (name, arguments["layers"], arguments["hidden"], arguments["heads"]) == ("gpt2-large", 36, 1280, 20)
    own = ModelChoice(name="custom", callable="torch.nn:Identity", arguments={"deep": "3", "name": "x"})  # type: ignore[arg-type]
    assert models.fit(own, text)[1] == {**vars(text), "deep": 3, "name": "x"}


def test_the_libraries_are_imported_only_when_asked_for() -> None:
    program = "import sys, workloads.train.run, workloads.data.texts.text; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"deepspeed", "horovod", "transformers", "datasets", "tokenizers"}


@pytest.mark.parametrize(("field", "words"), [("deepspeed", "DeepSpeed"), ("horovod.torch", "Horovod")])
def test_what_is_not_installed_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, field: str, words: str) -> None:
    import importlib

    from workloads.train.strategies import horovod, zero

    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name == field:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BadInput, match=f"asks for {words}, which is not installed here"):
        (zero if field == "deepspeed" else horovod)._library()
