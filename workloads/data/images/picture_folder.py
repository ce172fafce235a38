"""A folder of pictures: a table beside them (picture_table.py), or a subfolder per class (image_folder.py)."""

from slipway.api.common.sources import DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads import storage
from workloads.data.datasets import DataSet
from workloads.data.images import image_folder, picture_table


def load(choice: DatasetChoice, task: TrainingTask = TrainingTask.CLASSIFICATION) -> DataSet:
    """The pictures of the folder at the choice's uri, and what is learned of them."""
    root = storage.fetch(str(choice.uri))
    tables = root.is_dir() and (task is not TrainingTask.CLASSIFICATION or picture_table.is_table(root))
    return picture_table.load(root, choice, task) if tables else image_folder.load(choice)
