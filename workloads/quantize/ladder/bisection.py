"""Bisection for the nodes that a rewriting cannot take: they stay in float and are named, and the rung goes on.

One grouped ConvTranspose, one product with a constant of three axes, one operator of a strange domain makes the library
fail for the whole graph, or build a graph that does not load. The library says rarely which node it was; trying halves
does, in about 2 k log2(n) rewritings for k such nodes among n.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from workloads.errors import BadInput
from workloads.onnx import session as runtime
from workloads.onnx.feeds import filled, fixed_of
from workloads.quantize.context import Context

if TYPE_CHECKING:
    Build = Callable[[Sequence[str]], Any]

TRIES = 96  # rewritings, each as long as a candidate's: what is undecided then stays in float, too
NOT_TRIED = "not decided within the time that a search may take"
KIND = "unquantizable"


def culprits(nodes: Sequence[str], fails: Callable[[Sequence[str]], str]) -> dict[str, str]:
    """Nodes without which the others can be taken together, each with the reason; `nodes` are known to fail.

    `fails` returns why a selection, in the order of `nodes`, cannot be taken, or an empty string.
    """
    good: list[str] = []
    found: dict[str, str] = {}
    tries = 0

    def take(chunk: Sequence[str], *, known: str = "") -> None:
        nonlocal tries
        if tries >= TRIES:
            found.update(dict.fromkeys(chunk, NOT_TRIED))
            return
        tries += not known
        reason = known or fails([*good, *chunk])
        if not reason:
            good.extend(chunk)
        elif len(chunk) == 1:
            found[chunk[0]] = reason
        else:
            middle = len(chunk) // 2
            take(chunk[:middle])
            take(chunk[middle:])

    take(list(nodes), known="as a whole")
    return found


def rewritten(context: Context, kind: str, nodes: Sequence[str], build: "Build") -> Any:
    """The model that `build` makes of all of `nodes` that can be taken; None when there are none.

    `kind` names the rewriting: what one cannot take another may. What was found outlives a restart.
    """
    known: dict[str, str] = context.work.read(f"{KIND}/{kind}") or {}
    left = [node for node in nodes if node not in known]
    if not left:
        return None
    model, reason = _built(context, build, left)
    if not reason:
        return model
    found = culprits(left, lambda chosen: _built(context, build, chosen)[1])
    if len(found) == len(left):
        raise BadInput(f"could not be built: {reason}")
    context.work.write(f"{KIND}/{kind}", {**known, **found})
    context.reporter.say(f"{kind}: left in float: {words(found)}")
    return _built(context, build, [node for node in left if node not in found])[0]


def words(found: dict[str, str]) -> str:
    """Nodes and reasons for people, the first few."""
    named = "; ".join(f"{node} ({reason})" for node, reason in list(found.items())[:3])
    return named if len(found) <= 3 else f"{named}; and {len(found) - 3} more"


def left_in_float(context: Context) -> dict[str, dict[str, str]]:
    """Nodes that each rewriting could not take, with the reasons: {kind: {node: reason}}."""
    folder = context.work.path(KIND)
    kinds = sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []
    return {kind: context.work.require(f"{KIND}/{kind}") for kind in kinds}


def _built(context: Context, build: "Build", nodes: Sequence[str]) -> tuple[Any, str]:
    """The model, and why it is none: it cannot be made, loaded or run."""
    try:
        model = build(nodes)
        if model is not None:
            _run_once(context, model)
    except (ImportError, MemoryError, OSError):
        raise  # the machine's fault
    except Exception as error:  # whatever the library raises inside its rewriting
        return None, f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"[:200]
    return model, ""


def _run_once(context: Context, model: Any) -> None:
    feeds = context.evaluation.read(context.evaluation_batches(1)[0][:1]).feeds
    session = runtime.session(model)
    fixed = fixed_of(session)
    session.run(None, feeds if fixed is None else filled(feeds, fixed))
