"""Detectors are judged by what they find: mAP of any choice of pictures, and how sure a drop is."""

from pathlib import Path

import numpy as np
import pytest

from workloads.errors import BadInput
from workloads.quantize.evaluation import answers
from workloads.quantize.evaluation import detection_metrics as module
from workloads.quantize.evaluation.detection_metrics import Detections, judged
from workloads.vision import detection

CLASSES, MOST = 3, 4


def pictures(count: int, seed: int, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions [n, 6, 5 + 3] and objects [n, 4, 5]: each object is found, `blur` pixels away, beside mistakes."""
    random = np.random.RandomState(seed)
    predictions = np.zeros((count, 6, 5 + CLASSES), np.float32)
    objects = np.full((count, MOST, 5), -1.0, np.float32)
    for index in range(count):
        number = random.randint(1, MOST + 1)
        kinds = random.randint(CLASSES, size=6)
        boxes = np.column_stack([random.uniform(10, 90, (6, 2)), random.uniform(8, 20, (6, 2))])
        objects[index, :number] = np.column_stack([kinds, boxes])[:number]
        predictions[index, :, :4] = boxes
        predictions[index, :, :2] += blur * random.standard_normal((6, 2))
        predictions[index, :, 4] = np.where(np.arange(6) < number, 0.9, 0.3) * random.uniform(0.5, 1, 6)
        predictions[index, np.arange(6), 5 + kinds] = 1.0
    return predictions, objects


def found(count: int, seed: int, blur: float) -> Detections:
    predictions, objects = pictures(count, seed, blur)
    return judged([predictions[:7], predictions[7:]], [objects[:7], objects[7:]], CLASSES)


def precision(predictions: np.ndarray, objects: np.ndarray) -> float:
    """As the trainer adds it up, picture by picture."""
    total = np.zeros((CLASSES, 2 * detection.BINS + 1))
    for one, rows in zip(predictions.astype(np.float64), objects.astype(np.float64), strict=True):
        boxes, scores = detection.corners(one)
        kept, kinds, best = detection.select(boxes, scores, detection.LEAST)
        true = rows[rows[:, 0] >= 0]
        edges = np.column_stack([true[:, 1:3] - true[:, 3:] / 2, true[:, 1:3] + true[:, 3:] / 2])
        total += detection.tally((boxes[kept], kinds, best), edges, true[:, 0].astype(int), CLASSES, detection.OVERLAP)
    return float(np.nanmean(detection.average_precisions(total)))


@pytest.mark.parametrize("blur", [0.0, 2.0, 5.0])
def test_precision_is_the_trainers(blur: float) -> None:
    predictions, objects = pictures(40, 1, blur)
    assert found(40, 1, blur).precision() == pytest.approx(precision(predictions, objects), abs=1e-12)


def test_a_picture_that_counts_twice_is_there_twice() -> None:
    weights = np.random.RandomState(5).randint(0, 4, 30)
    predictions, objects = pictures(30, 2, 3.0)
    chosen = np.repeat(np.arange(30), weights)
    assert found(30, 2, 3.0).precision(weights) == pytest.approx(precision(predictions[chosen], objects[chosen]))


def test_the_same_model_has_lost_nothing_and_a_worse_one_has_for_sure() -> None:
    sharp, blurred = found(120, 3, 1.0), found(120, 3, 6.0)
    same = sharp.against(sharp, 0.95)
    assert (same.drop, same.low, same.high) == (0, 0, 0)
    worse = blurred.against(sharp, 0.95)
    assert worse.reference == sharp.precision()
    assert worse.second == pytest.approx(blurred.precision())
    assert 0 < worse.low < worse.drop < worse.high
    again = blurred.against(sharp, 0.95)
    assert again == worse
    surer = blurred.against(sharp, 0.5)
    assert worse.low < surer.low < surer.high < worse.high


def test_the_interval_covers_what_other_pictures_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 12 choices of 80 pictures, the drop in a thousand others lies within nearly all of their 90 % intervals."""
    monkeypatch.setattr(module, "RESAMPLED", 200)
    truth = found(1000, 99, 5.0).against(found(1000, 99, 2.0), 0.9).drop
    inside = 0
    for seed in range(12):
        difference = found(80, seed, 5.0).against(found(80, seed, 2.0), 0.9)
        inside += difference.low <= truth <= difference.high
    assert inside >= 9


def test_kept_and_read_back(tmp_path: Path) -> None:
    one = found(20, 4, 2.0)
    one.save(tmp_path / "a.npz")
    other = Detections.load(tmp_path / "a.npz")
    assert other.precision() == one.precision()
    assert (other.outputs == one.outputs).all()
    assert len(one.outputs) == 16


def test_what_is_not_in_the_layout_is_refused_in_words() -> None:
    predictions, objects = pictures(2, 1, 0.0)
    with pytest.raises(BadInput, match=r"not YOLOv5's layout for 4 classes: \[batch, boxes, 9\]"):
        judged([predictions], [objects], 4)


def test_noise_in_scores_counts_as_much_as_noise_in_pixels() -> None:
    predictions, _ = pictures(30, 1, 0.0)
    in_pixels, in_scores = predictions.copy(), predictions.copy()
    in_pixels[..., 0] *= 1.01
    in_scores[..., 4] *= 1.01
    noise = [answers.sqnr_db(predictions, noisy) for noisy in (in_pixels, in_scores)]
    assert noise[0] == pytest.approx(noise[1], abs=0.01)
