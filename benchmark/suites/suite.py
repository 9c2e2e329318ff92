"""Suites: which rows, columns and seeds make a table, and the runs they ask for; nothing here imports torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ..digests import JSON
from ..errors import UsageError, unknown
from ..settings import camera_angles, convert, resolve_sections
from ..spec import Fold, RunRequest
from ..task_digests import regions_digest, task_digest
from .inventory import Inventory
from .paper import load_published

Access: TypeAlias = Literal["ssdg", "source-only", "uda", "intra"]
"""What training may see: the source, the source as the lower bound, unlabelled target images too, target labels."""

EXTERNAL, ENSEMBLE = "external", "ensemble"
"""Methods of rows that are not trained: another program's predictions, and the mean of another row's seeds."""

ORACLE = "-oracle"
"""Added to the id of a row, for the same with its checkpoint chosen on the target."""

NO_ORACLE = "--selection oracle goes with rows that saw the source alone, and none is chosen"

Availability: TypeAlias = Literal["planned", "unavailable", "not-applicable"]
"""Of a row in a column: has runs; its method is not in this version; its method does not work in that dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One target domain and the strata of its cases that are printed."""

    task: str
    source: str
    target: str
    label: str = ""  # "": the target's id
    strata: tuple[str, ...] = ("all",)  # "all": mean of cases; "average": over strata and over cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method with its settings."""

    id: str
    method: str
    label: str = ""  # "": the row's id
    settings: Mapping[str, JSON] = field(default_factory=dict)  # "method.rsd": False; of other sections too
    access: Access = "ssdg"
    folds: int | None = None  # intra rows: trained and scored inside the target
    note: str = ""  # printed under the table, where § marks the row: whose it is, or what is different about it
    tuned: int | None = None  # trials of `bench tune` whose winner on held-out source cases the settings are
    block: str = ""  # of rows with the methods of other blocks under another condition: are their orders the same?
    selection: Literal["oracle"] | None = None  # checkpoint chosen on the target's labels; see selected_on_target

    @property
    def contender(self) -> bool:
        """Whether it is compared and may be bold: nothing of a target entered its weights, and it is no ensemble."""
        return self.access in ("ssdg", "source-only") and self.selection is None and not self.ensemble

    @property
    def remark(self) -> str:
        """What is printed under the table, where § marks the row."""
        tuned = "" if self.tuned is None else f"tuned on held-out source cases, {self.tuned} trials"
        return "; ".join(filter(None, [tuned, self.note.removesuffix(".")]))

    @property
    def trained_here(self) -> bool:
        """Whether runs of its own make its predictions: no other program, and no runs of another row."""
        return self.method not in (EXTERNAL, ENSEMBLE)

    @property
    def ensemble(self) -> bool:
        """Whether it averages the predictions of another row's seeds."""
        return self.method == ENSEMBLE

    @property
    def per_target(self) -> bool:
        """Whether it trains for each target anew."""
        return self.access in ("uda", "intra") or self.selection is not None

    def is_under(self, _protocol: str) -> bool:
        """Return whether it belongs in tables of a protocol."""
        return True

    def with_settings(self, settings: Mapping[str, Any]) -> "Row":
        """Return the row with some settings changed, where they change what it does."""
        return replace(self, settings={**self.settings, **settings}) if self.trained_here else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The part of a suite that is meant (``sweep``, ``status`` and ``table`` take the same flags); None: all."""

    protocol: str | None = None
    methods: tuple[str, ...] | None = None  # ids of rows, or of methods for all their rows where no row is so named
    targets: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)  # --set, on top of the suite's and the rows' settings
    selection: Literal["oracle"] | None = None  # also a row of its own, chosen on the target, for each that is not


@dataclass(frozen=True, slots=True)
class Planned:
    """One run a suite asks for, and the cells it contributes to."""

    row: Row
    columns: tuple[Column, ...]  # scored by this run
    request: RunRequest
    task_definition: str = ""  # see :func:`task_digest`; "": not known
    regions: str = ""  # see :func:`regions_digest`
    cameras: Mapping[str, float] = field(default_factory=dict)  # see :func:`camera_angles`

    def cameras_fit(self, domains: Iterable[str | None], stored: Iterable[float | None]) -> bool:
        """Return whether stored angles are those of the domains; where either does not say, any will do."""
        asked = tuple(self.cameras[name] for name in domains if name and name in self.cameras)
        return not asked or tuple(angle for angle in stored if angle) in ((), asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Rows × columns × seeds under one protocol."""

    name: str
    title: str
    note: str = ""  # printed under the table: how its protocol differs from that of the published numbers
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    protocol: str = "clean"
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: Mapping[str, JSON] = field(default_factory=dict)
    published: str | None = None  # name of a table of published numbers, whose keys are the row ids
    components: Mapping[str, str] = field(default_factory=dict)  # columns with a check mark: label -> boolean setting
    exports: tuple[str, ...] = ()  # folders that `bench export` wrote: runs in them are not trained again
    plugins: tuple[str, ...] = ()  # Python files of methods of one's own, as of ``--plugin``
    tasks: tuple[str, ...] = ()  # TOML files of tasks of one's own, as of ``--task``
    all_rows: tuple[Row, ...] = field(default=(), compare=False)  # also those not chosen; (): not narrowed

    def narrowed(self, choice: Filters) -> "Suite":
        """Return the suite with only the chosen rows, columns and seeds, and the overrides among the rows' settings.

        Raises:
            UsageError: a name that is not in the suite, a method's setting for rows of several methods, or oracle
                selection where no row can have it.
        """
        protocol, columns = choice.protocol or self.protocol, self.columns
        rows = [row for row in self._chosen_rows(choice) if row.is_under(protocol)]
        if choice.targets is not None:
            _check_names("target of the suite", choice.targets, [c.target for c in columns])
            columns = tuple(column for column in columns if column.target in choice.targets)
        shared = {key: value for key, value in choice.overrides.items() if not key.startswith("method.")}
        if shared.keys() < choice.overrides.keys() and len({row.method for row in rows if row.trained_here}) > 1:
            raise UsageError("--set method.* needs rows of one method: choose them with --methods, or write a suite")
        own = [{k: v for k, v in choice.overrides.items() if k not in shared or k in row.settings} for row in rows]
        others = [row.with_settings({k: v for k, v in shared.items() if k in row.settings}) for row in self.rows]
        return replace(
            self,
            rows=tuple(row.with_settings(settings) for row, settings in zip(rows, own, strict=True)),
            all_rows=self.all_rows or tuple(row for row in others if row.is_under(protocol)),
            columns=columns,
            settings={**self.settings, **shared},
            protocol=protocol,
            seeds=self.seeds if choice.seeds is None else tuple(dict.fromkeys(choice.seeds)),
        )

    def _chosen_rows(self, choice: Filters) -> tuple[Row, ...]:
        """Return the rows named by id, or by a method that is no row's id; a marked one comes with its row."""
        marked = choice.selection is not None
        rows = tuple(_with_oracles(self.rows)) if marked else self.rows
        if choice.methods is None:
            return rows
        _check_names("row or method of the suite", choice.methods, [*(r.id for r in rows), *(r.method for r in rows)])
        ids = {row.id for row in rows} & set(choice.methods)
        ids |= {row.id for row in rows if row.method in set(choice.methods) - ids}
        ids |= {name + ORACLE for name in ids if marked}
        rows = tuple(row for row in rows if row.id in ids)
        if marked and not any(row.selection == "oracle" for row in rows):
            raise UsageError(NO_ORACLE)
        return rows

    def row(self, id: str) -> Row:
        """Return a row; UsageError offers the nearest where there is none of an id."""
        for row in self.rows:
            if row.id == id:
                return row
        raise unknown(f"row of suite {self.name!r}", id, [row.id for row in self.rows])

    def seeds_of(self, row: Row) -> tuple[int, ...]:
        """Return the seeds that a row has a score of; of an ensemble there is one."""
        return (0,) if row.ensemble else self.seeds

    def sections(self) -> dict[str, Any]:
        """Return the config sections that all rows share: the protocol's, with the suite's settings on top."""
        return resolve_sections(self.protocol, self.settings)[0]

    def resolved(self, row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a row's config sections and its method's settings as given."""
        return resolve_sections(self.protocol, {**self.settings, **row.settings}, row.selection == "oracle")

    def components_of(self, row: Row) -> dict[str, bool]:
        """Return which of the components a row has, by label; a row that does not set one lacks it."""
        return {label: bool(convert(row.settings.get(key, False), bool)) for label, key in self.components.items()}

    def availability(self, row: Row, column: Column, inventory: Inventory) -> Availability:
        """Return whether a cell has runs here, and why not."""
        if not row.trained_here:
            return "planned"
        entry = inventory.methods.get(row.method)
        if entry is None:
            if self.published is None or row.id.removesuffix(ORACLE) not in load_published(self.published).rows:
                error = unknown(f"method (row {row.id!r} of suite {self.name!r})", row.method, inventory.methods)
                raise UsageError(f"{error}; one of your own needs --plugin FILE, or plugins = [FILE] in the suite")
            return "unavailable"
        task = inventory.task(column.task)
        return "planned" if entry.works_on(task.ndim, task.photographs) else "not-applicable"

    def plan(self, choice: Filters, inventory: Inventory) -> "Plan":
        """Return the chosen part of the suite and the runs it asks for.

        One per row, seed and source for methods that see the source alone, one per target for those that train on it,
        one per target and fold for intra-domain rows; none where the method is not there or not for the task.
        """
        suite, runs = self.narrowed(choice), []
        for row in suite.rows:
            columns = [c for c in suite.columns if suite.availability(row, c, inventory) == "planned"]
            if not columns:
                continue
            access = inventory.methods[row.method].access if row.trained_here else row.access
            if (access == "uda") != (row.access == "uda"):
                raise UsageError(
                    f"row {row.id!r}: method {row.method!r} is {access!r}, and the row says access = {row.access!r}"
                )
            sections, own = suite.resolved(row)
            own = own if row.trained_here else {"row": row.id}
            fields = {"method": row.method, "method_settings": own, "protocol": suite.protocol, **sections}
            for group, place in _placements(row, columns):
                task = inventory.task(group[0].task)
                requests = (RunRequest(task=task.name, seed=seed, **fields, **place) for seed in suite.seeds_of(row))
                names = (place["source"], *(column.target for column in group))
                of_task = task_digest(task), regions_digest(task), camera_angles(task, names, sections["preprocess"])
                runs += [Planned(row, tuple(group), request, *of_task) for request in requests]
        return Plan(suite, inventory, tuple(runs))


@dataclass(frozen=True, slots=True)
class Plan:
    """A suite, already narrowed, and the runs it asks for: rows × targets × seeds with resolved settings."""

    suite: Suite
    inventory: Inventory
    runs: tuple[Planned, ...]


def _placements(row: Row, columns: Sequence[Column]) -> Iterator[tuple[list[Column], dict[str, Any]]]:
    """Yield (columns one run scores, the request's source, target and fold) for each run a row needs per seed."""
    groups: dict[tuple[str, str], list[Column]] = {}
    if row.folds is None and row.per_target:
        for column in columns:
            yield [column], {"source": column.source, "target": column.target}
        return
    for column in columns:
        # Folds train inside the target, from whichever source other rows come to it.
        groups.setdefault((column.task, column.source if row.folds is None else column.target), []).append(column)
    for (_, source), group in groups.items():
        for fold in [None] if row.folds is None else [Fold(index, row.folds) for index in range(row.folds)]:
            yield group, {"source": source, "fold": fold}


def selected_on_target(row: Row) -> Row:
    """Return the row with its checkpoint chosen on the target's labels; its label carries the mark everywhere."""
    return replace(row, selection="oracle", label=f"{row.label.removesuffix('†').rstrip()} †")


def _with_oracles(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows, and after each that saw the source alone the same selected on the target, if not there yet."""
    if not any(row.contender and row.trained_here for row in rows):
        raise UsageError(NO_ORACLE)
    by_id = {row.id: row for row in rows}
    for row in rows:
        yield row
        name = row.id + ORACLE
        if not row.contender or not row.trained_here or (name in by_id and by_id[name].selection == "oracle"):
            continue
        if name in by_id:
            raise UsageError(f"--selection oracle adds a row {name!r}, and the suite has another so named: rename it")
        settings = {key: value for key, value in row.settings.items() if key != "training.selection"}
        yield selected_on_target(replace(row, id=name, settings=settings))


def _check_names(kind: str, names: Iterable[str], valid: Sequence[str]) -> None:
    for name in names:
        if name not in valid:
            raise unknown(kind, name, set(valid))
