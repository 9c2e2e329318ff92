"""One run's scores in a few lines, as `bench run` prints them."""

import math
from collections.abc import Iterable
from pathlib import Path

from ssdg.datasets.base import Task

from ..outcomes.scores import evaluation_scores
from ..scoring.case_file import read_cases
from ..spec import EvaluationConfig, RunRequest
from ..storage.results_reader import StoredEvaluation, read_run
from ..storage.run_folder import VALIDATION
from ..task_digests import regions_digest


def describe(folder: Path, request: RunRequest, task: Task) -> list[str]:
    """Return the folder, then a line for each domain scored: mean DSC of its cases, and of its strata if any.

    Scores are those that the request asks for. Those of a checkpoint chosen on the target carry the mark.
    """
    mark = " †" if request.training.selection == "oracle" else ""
    why = f" († checkpoint chosen on the labels of {request.target}: an upper bound, not a method)" if mark else ""
    lines = []
    # The last line is what a sweep shows of the run: a target's score, not that of the validation cases.
    for evaluation in sorted(_asked_for(folder, request, task), key=lambda each: each.domain != VALIDATION):
        scores = evaluation_scores(read_cases(evaluation), request.evaluation, task.scored_ndim)
        means = {stratum: 100 * float(scores.means(stratum)[0]) for stratum in sorted(set(scores.strata))}
        strata = ", ".join(f"{stratum} {mean:.2f}" for stratum, mean in means.items()) if len(means) > 1 else ""
        counts = evaluation.data["counts"]
        total = " cases" if evaluation.domain == VALIDATION else f" of {counts['published']}"
        lines.append(
            f"{request.method}{mark} s{request.seed} {evaluation.domain}: DSC {100 * float(scores.means()[0]):.2f}"
            f"{f' ({strata})' if strata else ''}, {counts['scored']}{total}{why}"
        )
    return [f"results in {folder}", *lines]


def mean_scores(folder: Path, request: RunRequest, task: Task) -> dict[str, float]:
    """Return the mean DSC (0..1) of each domain that a run is scored on as a request asks."""
    means = {}
    for evaluation in _asked_for(folder, request, task):
        scores = evaluation_scores(read_cases(evaluation), request.evaluation, task.scored_ndim)
        means[evaluation.domain] = float(scores.means()[0])
    return {domain: mean for domain, mean in means.items() if not math.isnan(mean)}


def _asked_for(folder: Path, request: RunRequest, task: Task) -> Iterable[StoredEvaluation]:
    """Return a run's finished evaluations that were predicted as a request asks, the newest of each domain."""
    asked = (request.training.selection, request.evaluation.resample, request.overlap, regions_digest(task))
    done = [each for each in read_run(folder).evaluations if each.done and each.kind == (each.domain, *asked)]
    return {each.domain: each for each in sorted(done, key=lambda each: str(each.data.get("finished")))}.values()


def score_text(evaluation: Path, config: EvaluationConfig, ndim: int) -> str:
    """Return what the evaluation in a folder scored, in words: "DSC 71.53, 22 cases".

    Volumes (``ndim`` 3) are always scored whole.
    """
    scores = evaluation_scores(read_cases(StoredEvaluation(evaluation, "", "", "", done=True, data={})), config, ndim)
    return f"DSC {100 * float(scores.means()[0]):.2f}, {len(scores.cases)} cases"
