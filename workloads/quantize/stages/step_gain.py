"""Gain of a step of structured compression, measured on the target before the step is kept.

Fewer channels are fewer FLOPs and not always less time: widths that no kernel likes, and products of two thin layers,
may be slower than what they replace. FLOPs do not tell; a clock does, where this node is the target.
"""

from slipway.api.quantization.ladder import Goal, goal_of
from slipway.api.training.compression import Method
from workloads.onnx import file
from workloads.quantize.context import Context
from workloads.quantize.evaluation import ranking
from workloads.quantize.ladder.candidates import latency_against, measurable, model_path
from workloads.quantize.stages.compression_step import Step

STRUCTURED = frozenset({Method.CHANNELS, Method.LOW_RANK})


def gains(context: Context, step: Step, before: str) -> bool:
    """Tell whether a structured step is worth keeping beside the candidate `before`; other methods always are.

    Measured once and kept, so that a run that goes on after a kill decides alike; the record's words are shown in the
    step's row.
    """
    if step.choice.method not in STRUCTURED:
        return True
    record = context.work.read(f"latency/{step.name}")
    if record is None:
        ratio = file.size_of(model_path(context, step.name)) / file.size_of(model_path(context, before))
        speedup = latency_against(context, before, step.name) if measurable(context) else None
        goal = goal_of(context.job.spec.ladder, context.job.spec.optimize_for) or Goal.BALANCED
        words = ranking.no_gain(ratio, speedup, goal)
        record = {"speedup": speedup, "noGain": words.replace("the float model", before)}
        context.work.write(f"latency/{step.name}", record)
        if words:
            context.reporter.say(f"{step.name}: {record['noGain']}")
    return not record["noGain"]
