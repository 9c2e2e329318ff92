"""Captions: every decision behind a table in words, from the same data that identify its runs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssdg.methods.networks import network_registry

from .. import environment
from ..outcomes.counts import commits_of
from ..outcomes.results import SuiteResults
from ..outcomes.scores import RowScores
from ..scoring.metrics import DSC, Metric
from ..settings import FOV_DEGREES
from ..spec import EvaluationConfig, NetworkConfig, OptimizerConfig, PreprocessConfig, TrainingConfig
from ..storage.run_folder import VALIDATION
from ..suites.paper import PublishedTable
from ..suites.suite import EXTERNAL, Column, Suite
from .wording import UNCONVERGED, remarked_text

UNITS = {"%": "%", "mm": "mm", "px": "pixels"}

MISSES = (
    "Misses, classes that a case's label has and its prediction lacks, are counted beside the mean (in the seed with "
    "most of them)."
)

EMPTY_RULES = {
    "skip": "a class absent from a case's label is left out of the mean",
    "one": "a class absent from a case's label scores 1 if it is not predicted, else 0",
    "zero-fp": "a class absent from a case's label scores 0 if it is predicted, and is left out of the mean if not",
}


def lead_sentences(
    results: SuiteResults,
    metric: Metric,
    columns: Sequence[Column],
    published: PublishedTable | None,
    marks: str,
    has_dash: bool,
) -> list[str]:
    """Return the sentences that a reader needs: what a number is, on how many cases, and marks.

    ``marks`` says what bold and ties mean; ``has_dash``: whether some method does not apply to some target.
    """
    suite = results.suite
    units = " or ".join(dict.fromkeys(UNITS[results.unit(column, metric)] for column in columns))
    better = "" if metric is DSC else f"; {metric.better} is better"
    seeds = len(suite.seeds)
    spread = "n = 1 seed, so there is no ±" if seeds == 1 else f"mean ± sample SD over n = {seeds} seeds"
    counted = "; ".join(_cases(column, results.of_column(column, metric), brief=True) for column in columns)
    name = f"{metric.label[0].upper()}{metric.label[1:]}"
    return [
        f"{name} ({units}{better}), {spread}; protocol {suite.protocol}; cases: {counted}.",
        *([_published(published)] if published is not None else []),
        f"{marks}.",
        *([f"{UNCONVERGED} {text}."] if (text := results.convergence.text) else []),
        *_marks(suite, has_dash),
    ]


def protocol_sentences(
    results: SuiteResults,
    metric: Metric,
    columns: Sequence[Column],
    published: PublishedTable | None,
    notes: Iterable[str],
) -> list[str]:
    """Return the other sentences of a caption: averages, cases, training, scoring, notes and origin.

    ``notes`` says what else a reader has to know.
    """
    suite = results.suite
    sections = suite.sections()
    scored = {column: results.of_column(column, metric) for column in columns}
    details = [
        text for column, of in scored.items() if (text := _cases(column, of)) != _cases(column, of, brief=True)
    ]
    evaluations = (e for of in scored.values() for s in of for e in s.evaluations)
    commits = {commit for e in evaluations for commit in commits_of(e) or ["not recorded"]}
    scored_at = f"; results scored at commit {', '.join(sorted(commits))}" if commits else ""
    return [
        _mean(len(suite.seeds)),
        *([] if metric is DSC else [f"{metric.short} ({metric.better} is better): {metric.definition}."]),
        *([MISSES] if metric is not DSC and metric.skips_misses else []),
        *([f"Cases: {'; '.join(details)}."] if details else []),
        f"Protocol {suite.protocol}, training: {'; '.join(_training(sections))}.",
        f"Protocol {suite.protocol}, scoring: {'; '.join(_scoring(suite, sections, metric))}.",
        *_row_settings(suite),
        *_row_notes(suite),
        *(_published_notes(suite, published) if published is not None else ()),
        *([f"{suite.note.removesuffix('.')}."] if suite.note else []),
        f"ssdg-bench {environment.version(missing='(not installed)')}{scored_at}.",
        *(f"Note: {note}." for note in notes),
    ]


def _mean(seeds: int) -> str:
    mean = "Each seed's mean: per class over cases, then over the foreground classes"
    if seeds == 1:
        return f"{mean}."
    return f"{mean}; SD with ddof 1; fewer seeds are marked (k/{seeds} seeds), and one alone has no ±."


def _training(sections: Mapping[str, Any]) -> list[str]:
    t: TrainingConfig = sections["training"]
    o: OptimizerConfig = sections["optimizer"]
    p: PreprocessConfig = sections["preprocess"]
    shape = "the task's grid" if p.shape is None else "x".join(map(str, p.shape))
    stretched = f"stretched to {shape} (3D: the foreground's bounding box)"
    isotropic = f"fitted to {shape} without distortion (2D padded to a square, 3D a cube around the foreground)"
    images = stretched if p.grid == "stretch" else isotropic
    if p.spacing is not None:
        steps = "x".join(f"{step:g}" for step in p.spacing)
        images = f"resampled to {steps} (2D: pixels; 3D: mm, the foreground's bounding box), each on its own grid"
    elif p.scale == "fov":
        images = f"scaled by their field of view: {shape} spans {FOV_DEGREES:g} degrees of every camera (scale=fov)"
    return [
        _network(sections["network"]),
        f"at most {t.epochs} epochs" if t.selection == "source-val" else f"{t.epochs} epochs",
        f"Adam at {o.lr:g}, polynomial decay {o.poly_power:g} per step, weight decay {o.weight_decay:g}",
        f"batch {t.batch_size}, the last odd one filled from a new shuffle",
        *_windows(t),
        "soft Dice loss (squared denominators, summed over the batch, all classes) for every supervised term, unless "
        "a row says otherwise",
        "no gradient clipping" if o.clip is None else f"gradients clipped at norm {o.clip:g}",
        f"shared augmentation: {t.augmentation}"
        + ("" if t.scaling is None else f", scalings of {t.scaling[0]:g} to {t.scaling[1]:g}"),
        f"checkpoint: {_selection(t)}",
        f"images {images}",
        "z-score per image, channels jointly, over the "
        + ("whole grid" if p.normalisation == "grid" else "foreground"),
        "where a case has no foreground mask: 2D the whole image, 3D voxels above a threshold",
        "3D brain mask: "
        + ("taken from the label, an oracle" if p.brain_mask == "label" else "non-zero voxels, never the label"),
        f"corpus callosum of the atlases counted as {'white' if p.corpus_callosum == 'wm' else 'grey'} matter",
        "precision: " + {"auto": "bf16 on CUDA, fp32 on CPU", "fp32": "fp32", "bf16": "bf16 autocast"}[t.precision],
    ]


def _network(config: NetworkConfig) -> str:
    known = network_registry().get(config.name)
    start = f", its encoder started from {Path(config.weights).name}" if config.weights is not None else ""
    return f"{config.name if known is None else known.label} with {config.init_filters} initial filters{start}"


def _windows(config: TrainingConfig) -> list[str]:
    if config.window is None:
        return []
    share = "a third of them on a labelled voxel where a class fills less than 5 % of it"
    if config.labelled_windows is not None:
        share = f"{config.labelled_windows:.0%} of them on a labelled voxel"
    count, sides = config.windows_per_image, "x".join(map(str, config.window))
    return [
        f"{count} random window{'s' * (count > 1)} of {sides} an image, centred on the foreground, {share}, "
        "normalised as the whole image"
    ]


def _selection(config: TrainingConfig) -> str:
    every = _interval(config)
    if config.selection == "source-val":
        share = "half" if config.earliest_stop == 0.5 else f"{config.earliest_stop:.0%}"
        never = f", never before {share} of the epochs" if config.earliest_stop else ""
        return (
            f"the best on held-out source cases, scored every {every}, stopping after {config.patience} epochs "
            f"without a gain of {config.min_delta:g}{never}"
        )
    return f"the last; held-out source cases, scored every {every}, are only reported"


def _interval(config: TrainingConfig) -> str:
    return "epoch" if config.validation_interval == 1 else f"{config.validation_interval} epochs"


def _scoring(suite: Suite, sections: Mapping[str, Any], metric: Metric) -> list[str]:
    e: EvaluationConfig = sections["evaluation"]
    averages = ["the mean of cases", "the unweighted mean of the strata"]
    front, beside = averages if e.average == "cases" else reversed(averages)
    return [
        "on each case's native grid, "
        + ("labels resampled by nearest neighbour" if e.resample == "nearest" else "probabilities resampled"),
        *([] if sections["training"].window is None else [f"predicted in windows that overlap by {e.overlap:.0%}"]),
        f"2D {'the whole image' if e.region == 'image' else 'inside the field of view'}, 3D the whole volume",
        f"average: {front} in front, {beside} beside it where there are strata",
        f"empty classes: {EMPTY_RULES[e.empty if metric.follows_empty else 'skip']}",
        _target_images(suite),
    ]


def _target_images(suite: Suite) -> str:
    if any(row.access == "uda" for row in suite.rows):
        return "rows marked ‡ train on all unlabelled images of the target they are scored on (transductive, cycled)"
    others = ["those marked †"] if any(row.selection for row in suite.rows) else []
    others += ["the intra-domain ones"] if any(row.folds is not None for row in suite.rows) else []
    no_row = f"no row{' trained here' if any(row.method == EXTERNAL for row in suite.rows) else ''}"
    return f"{no_row}{' but ' if others else ''}{' and '.join(others)} sees target images while training"


def _row_settings(suite: Suite) -> list[str]:
    shown = [
        [f"{k} = {v}" for k, v in row.settings.items() if not k.startswith("method.") or k == "method.supervision"]
        for row in suite.rows
    ]
    departing = [f"{row.label} with {', '.join(own)}" for row, own in zip(suite.rows, shown, strict=True) if own]
    return [f"Departing from this: {'; '.join(departing)}."] if departing else []


def _marks(suite: Suite, has_dash: bool) -> list[str]:
    """Return the meaning of the signs beside labels, as sentences."""
    marks = {
        "†: checkpoint chosen on the target's labels, an upper bound and not a method": any(
            row.selection == "oracle" for row in suite.rows
        ),
        "‡: domain adaptation, saw unlabelled target images and is not compared with the rest": any(
            row.access == "uda" for row in suite.rows
        ),
        remarked_text(suite.rows): any(row.remark for row in suite.rows),
        "\N{EN DASH}: the method does not apply": has_dash,
    }
    shown = "; ".join(text for text, is_used in marks.items() if is_used)
    return [f"{shown}."] if shown else []


def _row_notes(suite: Suite) -> list[str]:
    sentences = []
    if any(row.selection == "oracle" for row in suite.rows):
        t: TrainingConfig = suite.sections()["training"]
        sentences.append(
            f"† Of the checkpoints scored every {_interval(t)} and after the last of {t.epochs} epochs, the one with "
            "the highest mean Dice of all cases of the target on the network's grid, where a gain of "
            f"{t.min_delta:g} counts; no such run stops early."
        )
    sentences += [f"§ {row.label}: {row.remark}." for row in suite.rows if row.remark]
    folds = sorted({row.folds for row in suite.rows if row.folds is not None})
    if folds:
        counts = " or ".join(map(str, folds))
        sentences.append(
            f"Intra-domain rows train inside the target ({counts} folds; every case is scored by a fold that did not "
            "train on it) and are an upper reference."
        )
    return sentences


def _published(published: PublishedTable) -> str:
    if published.citations:
        return (
            "With each number: the published means, with ± where it is printed there, each with its source in "
            "brackets, and the difference, ours minus the first of them."
        )
    return "With each number: the published mean ± as printed there, and the difference, ours minus published."


def _published_notes(suite: Suite, published: PublishedTable) -> list[str]:
    sentences = []
    if published.citations:
        sentences.append(f"Sources: {'; '.join(f'{name}: {text}' for name, text in published.citations.items())}.")
    return sentences + [published.notes[c.target] for c in suite.columns if c.target in published.notes]


def _cases(column: Column, of_rows: Iterable[RowScores], brief: bool = False) -> str:
    rows = [scores for scores in of_rows if scores.seeds]
    if not rows:
        return f"{column.label} not scored yet"
    counts, strata = rows[0].counts[0], rows[0].strata
    total = counts.get("available" if column.target == VALIDATION else "published")
    text = f"{column.label} {counts['scored']}" + ("" if total is None else f" of {total}")
    if brief:
        return text
    names = sorted(set(strata)) if len(set(strata)) > 1 else []
    notes = [f"{name} {strata.count(name)}" for name in names]
    if counts.get("missing") and column.target != VALIDATION:
        notes.append(f"image missing for {', '.join(counts['missing'])}")
    undefined = max(scores.tally()[0] for scores in rows)
    notes += [f"up to {undefined} class scores not defined and left out"] if undefined else []
    notes += [str(counts["note"])] if counts.get("note") else []
    return f"{text} ({'; '.join(notes)})" if notes else text
