"""Metrics of generation under vLLM's names, which the Gateway API Inference Extension, KEDA's scalers and existing
dashboards read. The server's own metrics stand beside.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from workloads.serve.telemetry.metrics import Histogram

FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640)
NEXT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40)
WHOLE = (0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920)
LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


class GenerationMetrics(Collector):
    """Prometheus' collector of one model. `gauges` are read when scraped."""

    def __init__(self, model: str, adapters: Callable[[], str] = lambda: "", most_adapters: int = 0) -> None:
        self.first_token = Histogram(FIRST)
        self.next_token = Histogram(NEXT)
        self.mean_token = Histogram(NEXT)
        self.request = Histogram(WHOLE)
        self.queue = Histogram(WHOLE)
        self.prompts = Histogram(LENGTHS)
        self.answers = Histogram(LENGTHS)
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.ends: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._model, self._adapters, self._most = model, adapters, most_adapters

    def finished(self, reason: str, prompt: int, completion: int) -> None:
        """An answer is whole."""
        self.ends[reason] += 1
        self.prompts.observe(prompt)
        self.answers.observe(completion)

    def failed(self, reason: str) -> None:
        """A request ended in an error after it was taken."""
        self.errors[reason] += 1

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's hook."""
        labels, values = ["model_name"], [self._model]
        for name, (words, read) in self.gauges.items():
            gauge = GaugeMetricFamily(name, words, labels=labels)
            gauge.add_metric(values, read())
            yield gauge
        for name, words, total in (
            ("vllm:prompt_tokens", "Tokens of prompts that were read.", self.prompt_tokens),
            ("vllm:generation_tokens", "Tokens that were written.", self.generation_tokens),
        ):
            counter = CounterMetricFamily(name, words, labels=labels)
            counter.add_metric(values, total)
            yield counter
        success = CounterMetricFamily(
            "vllm:request_success", "Answers by how they ended.", labels=[*labels, "finished_reason"]
        )
        for reason in ("stop", "length"):
            success.add_metric([*values, reason], self.ends[reason])
        yield success
        failures = CounterMetricFamily(
            "slipway_generation_failures", "Requests that ended in an error.", labels=[*labels, "reason"]
        )
        for reason, count in sorted(self.errors.items()):
            failures.add_metric([*values, reason], count)
        yield failures
        yield self._lora()
        for name, words, histogram in (
            ("vllm:time_to_first_token_seconds", "From the request to its first token.", self.first_token),
            ("vllm:inter_token_latency_seconds", "Between a token and the next.", self.next_token),
            ("vllm:request_time_per_output_token_seconds", "Mean of an answer's further tokens.", self.mean_token),
            ("vllm:e2e_request_latency_seconds", "From the request to its whole answer.", self.request),
            ("vllm:request_queue_time_seconds", "Until an answer began.", self.queue),
            ("vllm:request_prompt_tokens", "Tokens of a prompt.", self.prompts),
            ("vllm:request_generation_tokens", "Tokens of an answer.", self.answers),
        ):
            yield _labelled(histogram, name, words, self._model)

    def _lora(self) -> Metric:
        info = GaugeMetricFamily(
            "vllm:lora_requests_info",
            "Adapters, as inference gateways read them.",
            labels=["max_lora", "running_lora_adapters", "waiting_lora_adapters"],
        )
        info.add_metric([str(self._most), self._adapters(), ""], 1.0)
        return info


def _labelled(histogram: Histogram, name: str, words: str, model: str) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, words, labels=["model_name"])
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, map(float, histogram.bounds)), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, total))
    family.add_metric([model], buckets=buckets, sum_value=histogram.sum)
    return family
