"""One run's scores in a few lines, as `bench run` prints them."""

from pathlib import Path

from ..outcomes.aggregate import seed_result
from ..scoring.metrics import DSC
from ..storage.results_reader import read_run
from ..storage.run_folder import HELD_OUT


def describe(folder: Path, ndim: int) -> list[str]:
    """Return the folder, then a line for each finished evaluation: mean DSC of its cases, and of its strata if any.

    Those of a checkpoint that was chosen on the target carry the mark.

    Args:
        folder: of the run.
        ndim: dimensions of its task; volumes are always scored whole.
    """
    run = read_run(folder)
    request = run.spec.request
    mark = " †" if request.training.selection == "oracle" else ""
    why = f" († checkpoint chosen on the labels of {request.target}: an upper bound, not a method)" if mark else ""
    lines = []
    # The last line is what a sweep shows of the run: a target's score, not the held-out one.
    for evaluation in sorted(run.evaluations, key=lambda one: one.domain != HELD_OUT):
        if not evaluation.done:
            continue
        region = request.evaluation.region_in(ndim)
        result = seed_result(request.seed, [evaluation], DSC, region, request.evaluation.empty)
        scores = result.scores
        strata = sorted(set(scores.strata))
        parts = [f"{stratum} {100 * scores.mean(stratum):.2f}" for stratum in strata] if len(strata) > 1 else []
        counts = evaluation.data["counts"]
        of = (
            f"{counts['scored']} cases"
            if evaluation.domain == HELD_OUT
            else f"{counts['scored']} of {counts['published']}"
        )
        detail = f" ({', '.join(parts)})" if parts else ""
        lines.append(
            f"{request.method}{mark} s{request.seed} {evaluation.domain}: "
            f"DSC {100 * scores.mean():.2f}{detail}, {of}{why}"
        )
    return [f"results in {folder}", *lines]
