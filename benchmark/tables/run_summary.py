"""One run's scores in a few lines, as `bench run` prints them."""

import math
from pathlib import Path

from ..outcomes.scores import evaluation_scores
from ..scoring.case_file import read_cases
from ..spec import EvaluationConfig, RunRequest
from ..storage.results_reader import StoredEvaluation, read_run
from ..storage.run_folder import VALIDATION


def describe(folder: Path, ndim: int) -> list[str]:
    """Return the folder, then a line for each finished evaluation: mean DSC of its cases, and of its strata if any.

    Those of a checkpoint that was chosen on the target carry the mark. Volumes (``ndim`` 3) are always scored whole.
    """
    run = read_run(folder)
    request = run.spec.request
    mark = " †" if request.training.selection == "oracle" else ""
    why = f" († checkpoint chosen on the labels of {request.target}: an upper bound, not a method)" if mark else ""
    lines = []
    # The last line is what a sweep shows of the run: a target's score, not that of the validation cases.
    for evaluation in sorted(run.evaluations, key=lambda evaluation: evaluation.domain != VALIDATION):
        if not evaluation.done:
            continue
        scores = evaluation_scores(read_cases(evaluation), request.evaluation, ndim)
        means = {stratum: 100 * float(scores.means(stratum)[0]) for stratum in sorted(set(scores.strata))}
        strata = ", ".join(f"{stratum} {mean:.2f}" for stratum, mean in means.items()) if len(means) > 1 else ""
        counts = evaluation.data["counts"]
        total = " cases" if evaluation.domain == VALIDATION else f" of {counts['published']}"
        lines.append(
            f"{request.method}{mark} s{request.seed} {evaluation.domain}: DSC {100 * float(scores.means()[0]):.2f}"
            f"{f' ({strata})' if strata else ''}, {counts['scored']}{total}{why}"
        )
    return [f"results in {folder}", *lines]


def score_text(evaluation: Path, config: EvaluationConfig, ndim: int) -> str:
    """Return what the evaluation in a folder scored, in words: "DSC 71.53, 22 cases"; ``ndim`` as above."""
    scores = evaluation_scores(read_cases(StoredEvaluation(evaluation, "", "", "", done=True, data={})), config, ndim)
    return f"DSC {100 * float(scores.means()[0]):.2f}, {len(scores.cases)} cases"


def mean_scores(folder: Path, request: RunRequest, ndim: int) -> dict[str, float]:
    """Return the mean DSC (0..1) of each domain that a run is scored on as a request asks; ``ndim`` as above."""
    means = {}
    for evaluation in read_run(folder).evaluations:
        asked_for = (request.training.selection, request.evaluation.resample, request.overlap)
        if evaluation.done and (evaluation.selection, evaluation.resample, evaluation.overlap) == asked_for:
            scores = evaluation_scores(read_cases(evaluation), request.evaluation, ndim)
            means[evaluation.domain] = float(scores.means()[0])
    return {domain: mean for domain, mean in means.items() if not math.isnan(mean)}
