"""Scores of a candidate and of the float model on the same samples, from 0 to 1 each, and the drop between the means.

The float model runs beside the candidate, batch by batch: outputs of any size are compared without being kept, but for
measures that look at all samples together (neighbours, spreads), whose outputs are small. The
interval is a percentile bootstrap over samples drawn again, the same ones for both (Efron 1979). Scores that are right
or wrong, and samples of which none differs, get Newcombe's of shares: no sample that is drawn again shows what few
samples did not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.measure.confidence import Difference, Pairs, drop_interval
from workloads.onnx import session as runtime
from workloads.onnx.feeds import Samples, by_sample, filled, fixed_of
from workloads.quantize.evaluation.measures import Measure

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]

RESAMPLED = 1000
TOGETHER = 1 << 17  # samples drawn again in one go
WHOLE = 256 << 20  # bytes of outputs kept for measures that look at all samples together
DECISIONS = 64  # different answers, of which more than one is what counts


@dataclass(frozen=True)
class Scores:
    """Scores of two models on the same samples. `reference` and `own` [n]: the float model's, and this one's.

    `sqnr_db`: signal to noise of its outputs, None when equal; `decisions` and `float_decisions`: how many different
    answers each gave, 0 for a task without decisions.
    """

    reference: "npt.NDArray[np.float64]"
    own: "npt.NDArray[np.float64]"
    sqnr_db: float | None
    decisions: int
    float_decisions: int

    def __len__(self) -> int:
        return len(self.own)

    def difference(self, confidence: float) -> Difference:
        """The drop of the mean, with its interval."""
        drops = self.reference - self.own
        if not drops.any() or all(np.isin(each, (0.0, 1.0)).all() for each in (self.reference, self.own)):
            low, high = drop_interval(Pairs.of(self.reference > 0, self.own > 0), confidence)
            return Difference(float(self.reference.mean()), float(drops.mean()), low, high)
        random = np.random.RandomState(0)
        # As many resamples at once as stay small: one by one they are most of the time that a small model takes.
        most = max(1, TOGETHER // max(1, len(drops)))
        sizes = [min(most, RESAMPLED - begun) for begun in range(0, RESAMPLED, most)]
        means = [drops[random.randint(len(drops), size=(size, len(drops)))].mean(axis=1) for size in sizes]
        low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
        return Difference(float(self.reference.mean()), float(drops.mean()), float(low), float(high))

    def save(self, path: Path) -> None:
        """Write the scores as .npz, whole or not at all."""
        staged = path.with_name(f".{path.name}.partial")
        noise = np.array([np.inf if self.sqnr_db is None else self.sqnr_db])
        counts = np.array([self.decisions, self.float_decisions])
        with staged.open("wb") as stream:
            np.savez_compressed(stream, reference=self.reference, own=self.own, noise=noise, counts=counts)
        staged.rename(path)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read the scores that `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            noise, (own, reference) = float(arrays["noise"][0]), arrays["counts"].tolist()
            return cls(arrays["reference"], arrays["own"], None if np.isinf(noise) else noise, own, reference)


@dataclass(frozen=True)
class Samplewise:
    """Outputs of both models for some samples, by place, and the labels if there are any."""

    wanted: "list[Array]"
    given: "list[Array]"
    labels: "Array | None"

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one sample's outputs."""
        return tuple(values.shape[1:] for values in self.wanted)

    @property
    def nbytes(self) -> int:
        """Bytes of all outputs."""
        return sum(values.nbytes for values in (*self.wanted, *self.given))


class Comparison:
    """Two models side by side over the evaluation samples. `outputs`: the places of those that are judged.

    `axes`: of the outputs by name, along which their samples lie; 0 where it is not told.
    """

    def __init__(
        self,
        measure: Measure,
        outputs: Sequence[int],
        *,
        labelled: bool,
        axes: "Mapping[str, int | None]" = MappingProxyType({}),
    ) -> None:
        self._measure, self._outputs, self._labelled, self._axes = measure, outputs, labelled, axes
        self._ports: list[Any] = []
        self._signal, self._noise = np.zeros(len(outputs)), np.zeros(len(outputs))
        self._reference: list[Array] = []
        self._own: list[Array] = []
        self._decisions: tuple[set[bytes], set[bytes]] = set(), set()

    def run(
        self,
        float_model: "onnx.ModelProto",
        model: "onnx.ModelProto | bytes",
        samples: Samples,
        batches: Iterable[list[int]],
    ) -> Scores:
        """Compare on all samples. BadInput for outputs that are no row per sample, or that are no numbers."""
        first = runtime.session(float_model)
        self._ports = first.get_outputs()
        sessions = first, first if model is float_model else runtime.session(model)
        waiting: dict[Any, list[Samplewise]] = {}
        for chosen in batches:
            batch = samples.read(chosen)
            wanted, given = (self._answers(session, batch.feeds, len(chosen)) for session in sessions)
            found = Samplewise(wanted, given, batch.labels if self._labelled else None)
            self._compare(found)
            if self._measure.whole:
                waiting.setdefault(found.shapes, []).append(found)
            else:
                self._score(found)
        for group in waiting.values():
            for joint in _together(group):
                self._score(joint)
        if not self._own:
            raise BadInput("there are no evaluation samples")
        noisy = self._noise > 0
        ratios = self._signal[noisy] / self._noise[noisy]
        worst = round(10 * float(np.log10(max(1e-30, ratios.min()))), 3) if noisy.any() else None
        counts = [len(decisions) for decisions in self._decisions]
        return Scores(np.concatenate(self._reference), np.concatenate(self._own), worst, counts[1], counts[0])

    def _answers(self, session: Any, feeds: "dict[str, Array]", rows: int) -> "list[Array]":
        fixed = fixed_of(session)
        found = session.run(None, feeds if fixed is None else filled(feeds, fixed))
        answers = []
        for place in self._outputs:
            values = np.asarray(found[place])
            if values.dtype.kind not in "fiub":
                raise BadInput(f"output {place} holds {values.dtype}, not numbers: name others in evaluation.outputs")
            port = self._ports[place]
            values = by_sample(values, feeds, self._axes.get(port.name, 0), port.shape)
            if values.ndim == 0 or len(values) not in {rows, fixed}:
                raise BadInput(f"output {place} has shape {values.shape}, not one row per sample")
            if values.dtype.kind == "f" and np.isnan(values).any():
                raise BadInput("the model answers NaN for some sample")
            answers.append(values[:rows])
        return answers

    def _compare(self, found: Samplewise) -> None:
        """Add the noise and the decisions of a batch."""
        for place, (wanted, given) in enumerate(zip(found.wanted, found.given, strict=True)):
            if wanted.shape != given.shape:
                raise BadInput(f"the candidate answers {given.shape} where the float model answers {wanted.shape}")
            first, second = wanted.astype(np.float64), given.astype(np.float64)
            usable = np.isfinite(first)
            self._signal[place] += float((first[usable] ** 2).sum())
            self._noise[place] += float(((np.nan_to_num(second) - np.nan_to_num(first))[usable] ** 2).sum())
        if self._measure.decide is None:
            return
        for seen, outputs in zip(self._decisions, (found.wanted[0], found.given[0]), strict=True):
            if len(seen) < DECISIONS:
                decided = np.asarray(self._measure.decide(outputs))
                seen.update(row.tobytes() for row in decided.reshape(len(decided), -1))

    def _score(self, found: Samplewise) -> None:
        labels = found.labels
        truth = found.wanted if labels is None else [labels] * len(found.wanted)
        for into, outputs in ((self._reference, found.wanted), (self._own, found.given)):
            by_output = [self._measure.score(one, other) for one, other in zip(outputs, truth, strict=True)]
            into.append(np.mean(by_output, axis=0))


def _together(group: list[Samplewise]) -> Iterable[Samplewise]:
    """Join batches of one shape, as many as fit: neighbours and spreads are of all samples, not of a batch."""
    joined: list[Samplewise] = []
    for batch in group:
        if joined and sum(each.nbytes for each in joined) + batch.nbytes > WHOLE:
            yield _join(joined)
            joined = []
        joined.append(batch)
    yield _join(joined)


def _join(parts: list[Samplewise]) -> Samplewise:
    places = range(len(parts[0].wanted))
    labels = [part.labels for part in parts if part.labels is not None]
    return Samplewise(
        [np.concatenate([part.wanted[place] for part in parts]) for place in places],
        [np.concatenate([part.given[place] for part in parts]) for place in places],
        np.concatenate(labels) if labels else None,
    )
