"""Records that survive a kill at any point."""

from pathlib import Path

import pytest

from workloads.errors import BadInput, Corrupt
from workloads.quantize.workdir import Work


def test_records_are_read_back(tmp_path: Path) -> None:
    work = Work(tmp_path / "job")
    assert work.read("rungs/dynamic") is None
    work.write("rungs/dynamic", {"candidates": []})
    assert Work(tmp_path / "job").read("rungs/dynamic") == {"candidates": []}
    with pytest.raises(BadInput, match="earlier stage"):
        work.require("source")


@pytest.mark.parametrize("torn", ["", '{"par', '{"part": "c"}'])
def test_a_torn_line_is_as_if_it_had_not_been_written(tmp_path: Path, torn: str) -> None:
    work = Work(tmp_path)
    work.append("sensitivity/0-of-1", {"part": "a"})
    work.append("sensitivity/0-of-1", {"part": "ü"})
    path = tmp_path / "sensitivity" / "0-of-1.jsonl"
    path.write_text(path.read_text() + torn)
    assert [line["part"] for line in work.lines("sensitivity/0-of-1")] == ["a", "ü"]
    work.append("sensitivity/0-of-1", {"part": "d"})
    assert [line["part"] for line in work.lines("sensitivity/0-of-1")] == ["a", "ü", "d"]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text('{"uri":')
    with pytest.raises(Corrupt, match=r"source\.json"):
        Work(tmp_path).read("source")


def test_object_stores_cannot_hold_work() -> None:
    with pytest.raises(BadInput, match=r"work\.uri"):
        Work.at("s3://bucket/work", "job")
