"""A folder of pictures with a table beside them, as Hugging Face's ImageFolder reads it: what each picture says.

`metadata.csv`, `.jsonl` or `.parquet` with the columns `file_name`, relative to the table's folder, and `label`: a
class, numbers (regression) or labels (multi-label). Held out is the folder that is named so, with a table of its own,
else the rows that a column `split` names, else a fifth.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from slipway.api.common.artifact import DatasetReference
from slipway.api.common.sources import Columns, DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads.data import splits
from workloads.data.bad_samples import BadSamples
from workloads.data.datasets import Augmentation, DataSet
from workloads.data.images import image_folder
from workloads.data.texts import table
from workloads.data.texts.table import Row
from workloads.data.texts.text_table import divided, fifth_in_words, held_out_fifth, learned, what_is_learned
from workloads.errors import BadInput

NAMES = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
SHOWN = 3


def table_in(folder: Path) -> Path | None:
    """The table of a folder of pictures; None where there is none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def is_table(root: Path) -> bool:
    """Tell whether pictures are described by tables: in the folder itself, or in those of its splits."""
    return table_in(root) is not None or any(table_in(one) is not None for one in root.iterdir() if one.is_dir())


def load(root: Path, choice: DatasetChoice, task: TrainingTask) -> DataSet:
    """Pictures of the folder with what its tables say of them. BadInput names rows whose picture is not there."""
    parts = None
    if table_in(root) is None:
        names = sorted(one.name for one in root.iterdir() if one.is_dir() and table_in(one) is not None)
        if not names:
            raise BadInput(
                f"{choice.uri}: task {task} needs a table of the pictures: put metadata.csv with the columns "
                f"{(choice.columns or Columns()).file} and {', '.join(table.label_columns(choice))} beside them"
            )
        parts = splits.chosen_parts(choice, names, str(root)) or splits.by_name(names, map(splits.kind_of, names))
        parts = parts or splits.Parts(tuple(names), ())
    training = [root / name for name in parts.training] if parts is not None else [root]
    held = [root / name for name in parts.held_out] if parts is not None else []
    rows, held_rows = (
        [row for folder in part for row in _rows(root, folder, choice, task)] for part in (training, held)
    )
    rows, held_rows, words = divided(rows, held_rows, choice, parts.words if parts is not None else "")  # type: ignore[assignment]
    _require_once(rows, held_rows, str(choice.uri))
    return _set(root, choice, task, (rows, held_rows), words)


def _require_once(rows: Sequence[Row], held: Sequence[Row], where: str) -> None:
    """BadInput for a picture in more than one row: with two labels, or trained on and held out at once."""
    known: dict[str, tuple[Row, bool]] = {}
    for row, out in [*((row, False) for row in rows), *((row, True) for row in held)]:
        other, also = known.setdefault(row.text, (row, out))
        if other is row:
            continue
        if (other.label, other.values) != (row.label, row.values):
            raise BadInput(f"{where}: {row.text} is in two rows with different labels: keep the right one")
        if out != also or not held:
            raise BadInput(f"{where}: {row.text} is in two rows, and would be trained on and held out: keep one")


def _rows(root: Path, folder: Path, choice: DatasetChoice, task: TrainingTask) -> list[Row]:
    """Rows with their pictures' paths from the root on."""
    found = table_in(folder)
    assert found is not None  # noqa: S101 (whoever asks has looked)
    rows = table.read(found, choice, task, pictures=True)
    for number, row in enumerate(rows, start=1):
        path = PurePosixPath(row.text.strip().replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise BadInput(f"{found}: sample {number} names {row.text!r:.80}, which leads out of the folder")
    missing = [row.text for row in rows if not (folder / row.text.strip().replace("\\", "/")).is_file()]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise BadInput(
            f"{found}: there is no {', '.join(missing[:SHOWN])}{more} beside it: paths are relative to the table"
        )
    below = folder.relative_to(root).as_posix()
    return [
        Row((PurePosixPath(below) / row.text.strip().replace("\\", "/")).as_posix(), row.label, row.split, row.values)
        for row in rows
    ]


def _set(
    root: Path, choice: DatasetChoice, task: TrainingTask, rows: tuple[Sequence[Row], Sequence[Row]], words: str
) -> DataSet:
    training, held = rows
    names, labels = learned([*training, *held], choice, task)
    own, out = labels[: len(training)], labels[len(training) :]
    if not held:
        kept, left = held_out_fifth(labels, task)
        training, held = [rows[0][place] for place in kept], [rows[0][place] for place in left]
        own, out = labels[kept], labels[left]
    paths = [[root / row.text for row in part] for part in (training, held)]
    size = image_folder.size_of(paths[0][0], choice.image_size)
    bad = BadSamples(choice.on_bad_sample, sum(map(len, paths)))
    digest, covers = image_folder.identity(root, sorted({*paths[0], *paths[1], *_tables(root)}))
    shape = f"{size.height} x {size.width} pixels, " + ("the middle of each" if size.resize else "each as a whole")
    return DataSet(
        training=image_folder.Pictures(tuple(paths[0]), own, size, bad),
        held_out=image_folder.Pictures(tuple(paths[1]), out, size, bad),
        labels=names,
        preprocessing=size,
        augmentation=Augmentation(shift=max(1, size.height // image_folder.SHIFT_SHARE)),
        reference=DatasetReference(
            name="image-folder",
            uri=choice.uri,
            digest=digest,
            covers=covers,
            training_samples=len(training),
            held_out_samples=len(held),
        ),
        taken=(words or fifth_in_words(task), what_is_learned(names, own, task), shape),
        bad=bad,
        task=task,
    )


def _tables(root: Path) -> list[Path]:
    folders = [root, *(one for one in root.iterdir() if one.is_dir())]
    return [found for found in map(table_in, folders) if found is not None]
