"""Average precision by hand and by definition, the loss's parts, and which places learn an object."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from workloads.data.detection.boxes import padded
from workloads.data.detection.shapes import load
from workloads.models import yolo
from workloads.train.tasks.detect import Detection, complete_iou
from workloads.vision import detection

A, B, C = ([0, 0, 10, 10], [20, 20, 30, 30], [40, 0, 50, 10])  # boxes that do not touch


def precision(pictures, classes: int = 1) -> np.ndarray:
    """`pictures`: (found: (box, class, score), true: (box, class)) each."""
    total: np.ndarray | float = 0.0
    for found, true in pictures:
        ranked = sorted(found, key=lambda one: -one[2])
        boxes, kinds, scores = (np.array([one[i] for one in ranked]) for i in range(3))
        boxes, kinds = boxes.reshape(-1, 4).astype(float), kinds.astype(int)
        true_boxes = np.array([box for box, _ in true], float).reshape(-1, 4)
        true_kinds = np.array([kind for _, kind in true], int)
        total = total + detection.tally((boxes, kinds, scores), true_boxes, true_kinds, classes, 0.5)
    return detection.average_precisions(np.asarray(total))


def test_a_perfect_detector_has_one_and_a_blind_one_nothing() -> None:
    assert precision([([(A, 0, 0.9), (B, 0, 0.8)], [(A, 0), (B, 0)])]) == pytest.approx([1.0])
    assert precision([([], [(A, 0)])]) == pytest.approx([0.0])
    assert precision([([(A, 0, 0.9)], [(C, 0)])]) == pytest.approx([0.0])


def test_hits_and_misses_by_hand() -> None:
    """Hit, miss, hit of two objects: precision 1 up to recall 0.5, then 2 / 3. 51 and 50 of the 101 recalls."""
    found = [(A, 0, 0.9), (C, 0, 0.8), (B, 0, 0.7)]
    assert precision([(found, [(A, 0), (B, 0)])]) == pytest.approx([(51 + 50 * 2 / 3) / 101])


def test_scores_rank_over_all_pictures() -> None:
    """The same boxes, but the miss in another picture comes first: 1 / 2 of recall 0.5, then 2 / 3 for all."""
    pictures = [([(C, 0, 0.95)], [(A, 0)]), ([(A, 0, 0.9)], [(A, 0)])]
    assert precision(pictures) == pytest.approx([51 / 2 / 101])


def test_an_object_is_found_once_and_by_its_own_class() -> None:
    twice = [(A, 0, 0.9), ([0, 0, 10, 9], 0, 0.8)]
    assert precision([(twice, [(A, 0)])]) == pytest.approx([1.0])  # the second one comes after full recall
    first_wrong = [([0, 0, 10, 4], 0, 0.9), (A, 0, 0.8)]  # overlaps by 0.4: a miss
    assert precision([(first_wrong, [(A, 0)])]) == pytest.approx([0.5])
    other_class = precision([([(A, 1, 0.9)], [(A, 0)])], classes=3)
    assert other_class[0] == 0
    assert np.isnan(other_class[1:]).all()


def random_pictures(seed: int):
    random = np.random.RandomState(seed)
    pictures = []
    for _ in range(12):
        corner, size, kinds = random.randint(0, 50, (4, 2)), random.randint(5, 50, (4, 2)), random.randint(0, 3, 4)
        true = [([*c, *(c + s)], int(kind)) for c, s, kind in zip(corner, size, kinds, strict=True)]
        found = []
        for box, kind in true:
            moved = (np.array(box) + random.randint(-6, 7, 4)).tolist()
            if moved[2] > moved[0] and moved[3] > moved[1]:
                found.append((moved, kind if random.rand() < 0.8 else (kind + 1) % 3, random.randint(0, 1000) / 1000))
        pictures.append((found, true))
    return pictures


@pytest.mark.parametrize("seed", range(3))
def test_cocos_own_evaluation_finds_the_same(seed: int) -> None:
    cocotools = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    pictures = random_pictures(seed)
    whole = {"images": [], "annotations": [], "categories": [{"id": kind} for kind in range(1, 4)], "info": {}}
    results = []
    for number, (found, true) in enumerate(pictures, start=1):
        whole["images"].append({"id": number})
        for box, kind in true:
            size = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            row = {"image_id": number, "category_id": kind + 1, "bbox": size, "area": size[2] * size[3], "iscrowd": 0}
            whole["annotations"].append({**row, "id": len(whole["annotations"]) + 1})
        for box, kind, score in found:
            size = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            results.append({"image_id": number, "category_id": kind + 1, "bbox": size, "score": score})
    truth = cocotools.COCO()
    truth.dataset = whole
    truth.createIndex()
    theirs = evaluation.COCOeval(truth, truth.loadRes(results), "bbox")
    theirs.params.iouThrs = np.array([0.5])
    theirs.evaluate()
    theirs.accumulate()
    expected = theirs.eval["precision"][0, :, :, 0, -1].mean(axis=0)
    assert precision(pictures, classes=3) == pytest.approx(expected, abs=1e-9)


def test_complete_iou_of_boxes_by_hand() -> None:
    box = torch.tensor([[10.0, 10.0, 8.0, 4.0]])
    assert complete_iou(box, box) == pytest.approx(1.0, abs=1e-6)
    # Beside each other: no overlap; centres 8 apart in a frame of 16 x 4.
    beside = box + torch.tensor([[8.0, 0, 0, 0]])
    assert complete_iou(box, beside) == pytest.approx(-64 / (16**2 + 4**2), abs=1e-6)
    # The same centre turned by a right angle: 16 shared of 48.
    turned = torch.tensor([[10.0, 10.0, 4.0, 8.0]])
    angle = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    weight = angle / (1 - 1 / 3 + angle)
    assert complete_iou(box, turned) == pytest.approx(1 / 3 - weight * angle, abs=1e-5)


def detector() -> tuple[Detection, torch.nn.Module]:
    torch.manual_seed(0)
    arguments = {"channels": 3, "height": 64, "width": 64, "classes": 3, "features": 4}
    return Detection(load(None), torch.device("cpu")), yolo.build("yolo", **arguments)


def test_an_object_is_learned_near_its_centre_by_anchors_of_its_size() -> None:
    task, _ = detector()
    targets = torch.from_numpy(padded([np.array([[1, 30, 33, 20, 12]], np.float32), np.empty((0, 5), np.float32)], 4))
    picture, place, box, kind = task._matches(targets)
    assert set(picture.tolist()) == {0}
    assert set(kind.tolist()) == {1}
    grid = yolo.grid_for(64, 64)
    middles = (grid.places[place] + 0.5) * grid.strides[place, None]
    assert ((middles - box[:, :2]).abs() <= grid.strides[place, None]).all()
    assert (torch.maximum(box[:, 2] / grid.anchors[place], grid.anchors[place] / box[:, 3]) < 4).all()
    own = {(float(s), *p) for s, p in zip(grid.strides[place], (grid.places[place]).tolist(), strict=True)}
    assert (8.0, 3.0, 4.0) in own  # 30 / 8 and 33 / 8: its own place on the fine map
    assert len({one for one in own if one[0] == 8.0}) == 3


def test_the_loss_is_a_mean_over_pictures() -> None:
    """So two processes that share a batch learn as one does; a picture without objects has a share, too."""
    task, model = detector()
    pixels, rows = task._data.training.batch(range(6))
    rows[2] = -1
    with torch.no_grad():
        raw = model.train()(task.inputs(torch.from_numpy(pixels)))
    targets = torch.from_numpy(rows)
    alone = [task.loss(raw[i : i + 1], targets[i : i + 1]) for i in range(6)]
    assert task.loss(raw, targets).item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)
    assert all(loss > 0 for loss in alone)


def test_what_the_loss_asks_for_is_found() -> None:
    """Numbers that are chosen by the loss alone, with no model between, give average precision 1."""
    task, _ = detector()
    _, rows = task._data.training.batch(range(4))
    targets = torch.from_numpy(rows)
    raw = torch.zeros((4, len(yolo.grid_for(64, 64).places), 8), requires_grad=True)
    optimizer = torch.optim.Adam([raw], 0.2)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(raw, targets).backward()
        optimizer.step()
    grid = yolo.grid_for(64, 64)
    decoded = torch.cat([yolo.boxes_from(raw[..., :4], grid), raw[..., 4:].sigmoid()], -1).detach()
    assert task.figures(task.sums(decoded, targets)).metrics["averagePrecision50"] == pytest.approx(1.0, abs=0.02)


def test_the_model_gives_yolov5s_layout_when_it_is_asked_for_answers() -> None:
    task, model = detector()
    images = task.inputs(torch.from_numpy(task._data.training.batch([0, 1])[0]))
    with torch.no_grad():
        raw, answers = model.train()(images), model.eval()(images)
    assert raw.shape == answers.shape == (2, 3 * (8 * 8 + 4 * 4), 8)
    assert (answers[..., 4:] >= 0).all()
    assert (answers[..., 4:] <= 1).all()
    assert (answers[..., 2:4] > 0).all()
