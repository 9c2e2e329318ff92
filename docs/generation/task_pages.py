"""One page for each task: from its catalogue file and the published numbers of the suites that score it."""

import itertools
from typing import Any

from prose import NONE, TIMES, escaped, listed, paragraphs, table

from ssdg.benchmark.suites.paper import PublishedScore, load_published
from ssdg.benchmark.suites.suite import Column, Suite
from ssdg.benchmark.suites.suite_file import list_suites, load_suite
from ssdg.datasets import TASKS
from ssdg.datasets.base import DomainLoader, Task


def task_pages() -> dict[str, str]:
    """Return the path of each task's page -> its Markdown."""
    suites = [load_suite(name) for name in list_suites()]
    return {f"tasks/{name}.md": _page(task, suites) for name, task in TASKS.items()}


def task_list() -> str:
    """Return a table of all tasks, for their first page."""
    rows = [
        (f"[{name}]({name}.md)", f"{task.ndim}D", ", ".join(task.scored), ", ".join(task.sources), _targets(task))
        for name, task in TASKS.items()
    ]
    return table(("task", "network", "scored", "sources", "targets"), rows)


def _targets(task: Task) -> str:
    return ", ".join(task.targets)


def _page(task: Task, suites: list[Suite]) -> str:
    text = TASKS.path(task.name).read_text(encoding="utf-8")
    notes = [line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())]
    facts = [
        ("network", f"{task.ndim}D, {task.channels} channels, grid {f' {TIMES} '.join(map(str, task.shape))}"),
        ("classes", ", ".join(task.classes)),
        ("scored", ", ".join(task.scored)),
        ("default source", f"`{task.source}`"),
        ("suites", ", ".join(f"`{suite.name}`" for suite in suites if _columns(suite, task)) or "none"),
    ]
    domains = {**task.sources, **task.targets}
    return paragraphs(
        f"# {task.name}",
        escaped(" ".join(notes)),
        listed(facts),
        f"`bench data verify {' '.join(domains)}` checks the files below the data root.",
        "## Data sets",
        *itertools.chain.from_iterable(_domain(name, loader, task) for name, loader in domains.items()),
        "## Published numbers",
        *_published(task, suites),
        "## The task's file",
        "With the notes on each data set; every key is explained in [Data](../data.md).",
        f"```toml\n{text}```",
    )


def _domain(name: str, loader: DomainLoader, task: Task) -> list[str]:
    domain = loader.domain
    roles = (("source", task.sources), ("target", task.targets))
    facts = [
        ("role", " and ".join(role for role, names in roles if name in names)),
        ("modality", domain.modality),
        ("cases", str(domain.published or "")),
        ("published at", _linked(domain.source)),
        ("terms", escaped(domain.licence)),
        ("cite", escaped(domain.citation)),
    ]
    tree = "\n".join(f"{key}: {pattern}" for key, pattern in loader.patterns.items())
    return [f"### {name}", listed(facts), f"```text\n{tree}\n```"]


def _linked(place: str) -> str:
    address, space, rest = place.partition(" ")
    return f"<{address}>{space}{escaped(rest)}" if address.startswith("http") else place


def _columns(suite: Suite, task: Task) -> list[Column]:
    return [column for column in suite.columns if column.task == task.name]


def _published(task: Task, suites: list[Suite]) -> list[str]:
    parts: list[str] = []
    for suite in suites:
        columns = _columns(suite, task)
        if suite.published and columns and load_published(suite.published).has_any_of(c.target for c in columns):
            parts += _numbers(suite, columns)
    return parts or ["None is kept here."]


def _numbers(suite: Suite, columns: list[Column]) -> list[str]:
    published = load_published(str(suite.published))
    cells = [(column, stratum) for column in columns for stratum in column.strata]
    labels = {row.id: row.label for row in suite.rows}
    rows: list[list[str]] = []
    for row in [*labels, *sorted(published.rows - labels.keys())]:
        scores = [published.scores.get((row, column.target, stratum), ()) for column, stratum in cells]
        if any(scores):
            rows.append([labels.get(row, row), *("; ".join(map(_score, score)) or NONE for score in scores)])
    heading = [c.label if stratum == "all" else f"{c.label}, {stratum}" for c, stratum in cells]
    citations = [f"* {name}: {escaped(text)}" for name, text in published.citations.items()]
    title = f"Suite `{suite.name}`: {suite.title}. DSC in percent, as printed; ± as in the source."
    return [title, table(["row", *heading], rows), "\n".join(citations), _note(suite)]


def _score(score: PublishedScore) -> str:
    mean = f"{score.mean:.2f}" if score.sd is None else f"{score.mean:.2f} ± {score.sd:.2f}"
    return f"{mean} ({score.source})" if score.source else mean


def _note(suite: Any) -> str:
    return f"Note of the suite: {escaped(suite.note.strip())}." if suite.note else ""
