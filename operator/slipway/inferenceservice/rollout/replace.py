"""A rollout at once: the newest revision comes up beside the others, which go when all its replicas serve. Pure."""

from slipway.inferenceservice import status as words
from slipway.inferenceservice.observed import Revision
from slipway.inferenceservice.state import Course, Scene


def replace(scene: Scene) -> Course:
    """Course of a rollout at once; also how the first revision comes, and how a promoted canary takes the rest."""
    wanted, current, older = scene.size.replicas, scene.current, scene.older
    if current is not None and current.serves(wanted):
        return Course({scene.newest: wanted}, older, words.serving(scene, current))
    trouble = scene.trouble
    keep = scene.stable or _serving(older)
    replicas = {scene.newest: wanted}
    if keep is not None:
        # It may be this one that serves for long: it follows the scale as well.
        replicas[keep.revision] = wanted
    # A revision that never served is nothing to wait for.
    useless = [revision for revision in older if revision is not keep and not revision.ready]
    if current is not None and current.ready and words.is_rolled_out(scene):
        return Course(replicas, useless, words.scaling(scene, current, trouble))
    held = scene.size.may_sleep and scene.around.standby.ready and trouble is None and not scene.hopeless
    if current is not None and held and words.is_rolled_out(scene):
        return Course(replicas, useless, words.waking(scene, current))
    return Course(replicas, useless, words.rolling_out(scene, current, trouble, keep if keep and keep.ready else None))


def _serving(revisions: list[Revision]) -> Revision | None:
    return next((revision for revision in reversed(revisions) if revision.ready), None)
