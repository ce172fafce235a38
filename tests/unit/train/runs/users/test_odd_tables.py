"""Tables as strangers have them: what would be learned as something else, or not be read, is told in words."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.api.common.sources import DatasetChoice
from workloads import data
from workloads.errors import BadInput

ROWS = [(f"{word} thing {n}", word) for n in range(20) for word in ("good", "bad")]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


def opened(path: Path, name: str = "text-table", **more: Any) -> Any:
    fields = {"name": name, "uri": path.as_uri(), "sequenceLength": 8, **more}
    return data.open_set(DatasetChoice.model_validate(fields))


def lines(**one: Any) -> bytes:
    """JSON lines of the usual rows, with one value put in place of each row's own."""
    return "\n".join(json.dumps({"text": text, "label": label, **one}) for text, label in ROWS).encode()


def arrow(path: Path, table: Any, kind: str) -> None:
    """Write an Arrow table as a file, a stream or Feather."""
    pa = pytest.importorskip("pyarrow")
    if kind == "feather":
        pytest.importorskip("pyarrow.feather").write_feather(table, path)
        return
    make = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}[kind]
    with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", CSV.replace("good thing 3", "good\0thing").encode(), "line 8 has a byte of 0"),
        ("a.csv", CSV.encode() + bytes(300), "line 42 has a byte of 0"),  # a copy that was cut short
        ("a.csv", CSV.encode("utf-16-le"), "line 1 has a byte of 0: it is UTF-16 or UTF-32 without its mark"),
        ("a.csv", CSV.encode("utf-32"), "line 1 has a byte of 0"),
        ("a.csv", CSV.encode() + "ü,good\n".encode("latin1"), "line 42 is not UTF-8"),
        ("a.jsonl", b'{"text": "x", "label": ' + b"9" * 5000 + b"}", "line 1 is JSON that nobody can read"),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1 is JSON that nobody can read"),
        ("a.jsonl", lines(text=["two", "texts"]), "text of row 1 is a list: make one text of it"),
        ("a.jsonl", lines(label=["good"]), "label of row 1 is a list: .* recipe.task: multi-label"),
        ("a.jsonl", lines(label={"name": "good"}), "label of row 1 is a dict"),
        ("a.json", json.dumps({"text": ["a"], "label": ["b"]}).encode(), "text of row 1 is a list"),
        ("a.jsonl", lines(text="half \ud800 a pair"), "text of row 1 is not text that UTF-8 has"),
        ("a.jsonl", lines(label="\ud800"), "label of row 1 is not text that UTF-8 has"),
        (
            "a.csv",
            b'text,label\n"said he,good\nthe "best" day,bad\nx,good\n',
            "after line 1: not a table .*: a text that begins with a double quote ends with one",
        ),
        ("a.csv", b'text,label\n"say \\"hi\\" now",good\n', "after line 1: .* one inside of it is written twice"),
        ("a.npz", b"PK\x03\x04", "arrays of NumPy: give them as dataset custom"),
    ],
)  # fmt: skip
def test_values_that_are_no_words_are_refused_by_row(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """A list became the text "['two', 'texts']", and a class was called "{'name': 'good'}"."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        opened(tmp_path / name)


def test_quotes_in_a_table_of_tabs_are_letters(tmp_path: Path) -> None:
    """A text that began with a quote took all rows up to the next quote into itself (Hugging Face datasets 1763)."""
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "".join(f'"row {n} he said\tgood\nthe "best" {n}\tbad\n' for n in range(10)))
    found = opened(path)
    assert len(found.training) + len(found.held_out) == 20
    path.write_text("text\tlabel\n" + "".join(f'"row\t{n}"\tgood\nrow {n}\tbad\n' for n in range(10)))
    found = opened(path)  # but a quoted text may hold a tab
    assert (len(found.training) + len(found.held_out), found.labels) == (20, ("bad", "good"))


@pytest.mark.parametrize(("name", "kind"), [("a.arrow", "file"), ("a.arrow", "stream"), ("a.feather", "feather")])
def test_tables_of_arrow(tmp_path: Path, name: str, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    whole = pa.table({"text": [text.encode() for text, _ in ROWS], "label": [label for _, label in ROWS]})
    arrow(tmp_path / name, whole, kind)
    found = opened(tmp_path / name)
    assert (found.labels, len(found.training)) == (("bad", "good"), 32)
    first = bytes(found.training.batch([0])[0][0].astype(np.uint8)).decode()
    assert not first.startswith("b'")  # Python's spelling of bytes was what was learned
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    with pytest.raises(BadInput, match="not a whole Arrow file"):
        opened(tmp_path / name)


def test_a_column_twice_in_parquet_is_named(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = [pa.array([text for text, _ in ROWS]), *[pa.array([label for _, label in ROWS])] * 2]
    pq.write_table(pa.table(columns, names=["text", "label", "label"]), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="the column label is there 2 times"):
        opened(tmp_path / "a.parquet")


def test_a_letter_in_two_spellings_is_one_class(tmp_path: Path) -> None:
    """A Mac writes "é" as two characters: there were two classes of the same name."""
    path = tmp_path / "a.csv"
    names = ("caf\u00e9", "cafe\u0301", "tea")
    path.write_text("text,label\n" + "".join(f"row {n},{names[n % 3]}\n" for n in range(30)))
    assert opened(path).labels == ("caf\u00e9", "tea")


def test_texts_in_both_parts_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "the same,good\n" * 20 + "".join(f"row {n},bad\n" for n in range(20)))
    assert "1 texts are in both parts, which flatters the figures" in opened(path).taken


def test_a_label_as_long_as_a_book_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f'row {n},"two\nlines {"ab"[n % 2] * 5000}"\n' for n in range(20)))
    found = opened(path)
    assert max(map(len, found.labels)) > 5000
    assert len(found.taken[1]) < 200
    assert "\n" not in found.taken[1]


def test_a_saved_data_set_of_hugging_face_is_told_its_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    arrow(tmp_path / "data-00000-of-00001.arrow", pa.table({"text": ["a"], "label": [0]}), "stream")
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(BadInput, match=r"set dataset.name: hugging-face"):
        opened(tmp_path)


def test_shards_of_arrow_are_a_data_set_of_hugging_face(tmp_path: Path) -> None:
    pa, _ = pytest.importorskip("pyarrow"), pytest.importorskip("datasets")
    for number, part in enumerate((ROWS[:20], ROWS[20:])):
        shard = pa.table({"text": [text for text, _ in part], "label": [label for _, label in part]})
        arrow(tmp_path / f"{('train', 'test')[number]}-0.arrow", shard, "stream")
    found = opened(tmp_path, "hugging-face")
    assert (len(found.training), len(found.held_out), found.labels) == (20, 20, ("bad", "good"))


def test_arrays_of_numpy_are_an_own_data_set(tmp_path: Path) -> None:
    sink = io.BytesIO()
    np.savez(sink, pictures=np.zeros((4, 8, 8)))
    (tmp_path / "a.npz").write_bytes(sink.getvalue())
    with pytest.raises(BadInput, match="arrays of NumPy: give them as dataset custom"):
        opened(tmp_path / "a.npz", "image-folder")
