"""What a report says of differences: each row against the baseline, and how firm the ranking is."""

from dataclasses import dataclass

from ..comparisons.contrasts import Contrast, contrast_rows, overall_headings, rank_rows
from ..comparisons.render import level_text, stability_text
from ..outcomes.results import SuiteResults
from ..scoring.metrics import DSC
from ..suites.suite import Row
from ..tables.significance import ALPHA
from ..tables.wording import heading_text, row_label
from .charts import ForestRow


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceLine:
    """A row's difference to the baseline, in points."""

    label: str
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    wilcoxon_p: float
    median: float
    wins: int
    ties: int
    losses: int

    @property
    def clear(self) -> bool:
        """Whether it is separated from zero after the adjustment for the number of comparisons."""
        return self.adjusted <= ALPHA

    @property
    def interval(self) -> ForestRow:
        """What the chart shows."""
        return ForestRow(self.label, self.difference, self.low, self.high, self.clear)


@dataclass(frozen=True, slots=True)
class Differences:
    """All rows against the baseline on one target."""

    name: str  # of the chart
    label: str
    lines: tuple[DifferenceLine, ...]


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Every difference to the baseline."""

    note: str
    targets: tuple[Differences, ...]


@dataclass(frozen=True, slots=True)
class RankLine:
    """The ranks of one row."""

    label: str
    expected: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks of all rows on one target, the best first."""

    label: str
    lines: tuple[RankLine, ...]
    note: str  # how far the order holds


def differences(results: SuiteResults, baseline: Row) -> Comparisons | None:
    """Return how every complete row differs from the baseline; None where none can be compared."""
    headings = overall_headings(results)
    contrasts = contrast_rows(results, results.suite.rows, baseline, headings).contrasts
    targets = []
    for number, heading in enumerate(headings):
        lines = tuple(_line(one, DSC.scale) for one in contrasts if one.heading == heading)
        if lines:
            targets.append(Differences(f"forest-{number}", heading_text(heading), lines))
    if not targets:
        return None
    level = level_text([one.comparison for one in contrasts])
    note = (
        f"Row minus {baseline.label}, in points of DSC on the same cases, with 95 % intervals. {level}. "
        f"p (Holm) is adjusted for all {len(contrasts)} comparisons on this page; filled marks and bold: at most "
        f"{ALPHA:g}. Wilcoxon's p, the median and the count of cases see these trained models alone. "
        "No clear difference is not the same as equal."
    )
    return Comparisons(note, tuple(targets))


def ranks(results: SuiteResults) -> list[Ranks]:
    """Return how firm the ranking of the complete rows that saw the source alone is, by target."""
    made = []
    for ranking in rank_rows(results, overall_headings(results)):
        found = ranking.stability
        order = sorted(range(len(ranking.rows)), key=lambda place: (found.ranks[place], found.expected[place]))
        lines = tuple(
            RankLine(ranking.rows[i].label, found.expected[i], tuple(map(float, found.probabilities[i])))
            for i in order
        )
        label = heading_text(ranking.heading)
        made.append(Ranks(label, lines, f"{stability_text(ranking)}."))
    return made


def _line(contrast: Contrast, scale: float) -> DifferenceLine:
    found = contrast.comparison
    return DifferenceLine(
        label=row_label(contrast.row),
        difference=scale * found.difference,
        low=scale * found.low,
        high=scale * found.high,
        p=found.p,
        adjusted=contrast.adjusted,
        wilcoxon_p=found.wilcoxon_p,
        median=scale * found.median,
        wins=found.wins,
        ties=found.ties,
        losses=found.losses,
    )
