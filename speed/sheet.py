"""The table: what a measurement returns, what it is measured on, and how that is printed and written."""

import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sampling import Estimate

from ssdg.benchmark import environment
from ssdg.benchmark.storage.files import write_text
from ssdg.benchmark.storage.run_folder import to_csv

if TYPE_CHECKING:
    import torch

COLUMNS = ("name", "measured", "unit", "budget", "bound", "met", "n", "low", "high", "others", "note")

BUSY = 0.05
"""Share of the cores that other work may take before the table says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    repeats: int | None = None  # samples of every measurement; None: as many as each needs
    data_root: Path | None = None  # the published data sets; None: rows that need them are skipped
    cache: Path = field(default_factory=lambda: Path("results/prepared"))
    threads: int | None = None  # of the CPU; None: as torch finds them
    official: Path | None = None  # clones of the authors' repositories; None: nothing is compared with them

    def samples(self, default: int) -> int:
        """Return how many samples to take."""
        return default if self.repeats is None else self.repeats

    def devices(self) -> list["torch.device"]:
        """Return the CPU and, where there is one, the GPU; this process is then set up as a run's is."""
        import torch

        from ssdg.benchmark.training.allocator import keep_freed_memory
        from ssdg.benchmark.training.build import find_device

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        keep_freed_memory(torch.device("cpu"))
        return [torch.device("cpu"), *([find_device("cuda")] if torch.cuda.is_available() else [])]


class Skipped(Exception):
    """Something a measurement needs is not here; the message is the row's reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; no estimate: it could not be measured, the note says why."""

    name: str
    estimate: Estimate | None = None
    unit: str = ""
    budget: float | None = None  # largest value allowed, in the same unit; None: for information
    note: str = ""
    at_least: bool = False  # the budget is the smallest value allowed
    others: float | None = None  # share of the cores (0..1) that other work took meanwhile; None: not known

    @property
    def met(self) -> bool | None:
        """Whether the budget is met; None where there is none, or no value."""
        if self.budget is None or self.estimate is None:
            return None
        return self.estimate.value >= self.budget if self.at_least else self.estimate.value <= self.budget

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return name, measured, budget, n and interval as they are printed."""
        budget = "" if self.budget is None else f"{'≥' if self.at_least else '≤'} {self.budget:g} {self.unit}"
        if self.estimate is None:
            return self.name, "not measured", budget, "", ""
        found = self.estimate
        verdict = {True: "", False: " **missed**", None: ""}[self.met]
        interval = "" if found.low != found.low else f"{_number(found.low)} to {_number(found.high)}"
        return self.name, f"{_number(found.value)} {self.unit}{verdict}", budget, str(found.n), interval

    def record(self) -> dict[str, object]:
        """Return the row of the CSV file; what was not measured is empty."""
        found = self.estimate
        values = (
            {} if found is None else {"measured": found.value, "n": found.n, "low": found.low, "high": found.high}
        )
        met = {True: "yes", False: "no", None: ""}[self.met]
        budget = "" if self.budget is None else self.budget
        return {
            "name": self.name,
            "unit": self.unit,
            "budget": budget,
            "bound": "" if self.budget is None else "at least" if self.at_least else "at most",
            "met": met,
            "note": self.note,
            "others": self.others,
            **values,
        }


def _number(value: float) -> str:
    """Return three significant digits, and whole numbers from 100 on."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


class Neighbours:
    """Watches what other work takes of the processor, from its creation on."""

    def __init__(self) -> None:
        self._began = self._read()

    def share(self) -> float | None:
        """Return the share of all cores (0..1) that other processes had; None where the system does not tell."""
        before, now = self._began, self._read()
        if before is None or now is None:
            return None
        busy, own, total = (after - earlier for after, earlier in zip(now, before, strict=True))
        return round(min(1.0, max(0.0, busy - own) / total), 3) if total > 0 else 0.0

    def _read(self) -> tuple[float, float, float] | None:
        """Return the busy seconds of all cores, those of this process and its children, and all there were."""
        try:
            fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        except OSError:
            return None
        ticks = [int(value) / os.sysconf("SC_CLK_TCK") for value in fields]
        idle = ticks[3] + ticks[4]  # idle, and waiting for a disk
        return sum(ticks) - idle, sum(os.times()[:4]), sum(ticks)


def machine() -> dict[str, str]:
    """Return what the numbers belong to: device, cores, threads, versions, commit, date."""
    versions = environment.package_versions()
    # A part of the suite without torch must not import it for its name: that would take longer than the measurement.
    torch = sys.modules.get("torch")
    gpu = torch is not None and torch.cuda.is_available()
    threads = str(torch.get_num_threads()) if torch is not None else "torch not used"
    return {
        "device": f"{torch.cuda.get_device_name(0)}, {processor()}" if torch is not None and gpu else processor(),
        "cores": str(environment.cores()),
        "threads": threads,
        "date": environment.now(),
        "commit": environment.commit() or "not a checkout",
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items()),
        "platform": platform.platform(),
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def slug(device: str, cores: str) -> str:
    """Return a file name for a device: "NVIDIA H100, …" is "nvidia-h100", a processor is named with its cores."""
    first, gpu, _ = device.partition(", ")
    name = first if gpu else f"{re.sub(r'[(](?:R|TM|C)[)]| CPU.*', '', device)} {cores} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def markdown(rows: Sequence[Row], where: dict[str, str]) -> str:
    """Return the table with its provenance above and its notes below."""
    lines = [f"# Speed: {where['device']}", ""]
    lines += [f"* {name}: {value}" for name, value in where.items() if name != "device"]
    lines += ["", "Medians with 95 % bootstrap intervals, unless a note says otherwise.", ""]
    lines += ["| name | measured | budget | n | interval |", "|---|---|---|---|---|"]
    notes: list[str] = []
    for row in rows:
        name, *others = row.cells()
        if row.note and row.note not in notes:
            notes.append(row.note)
        mark = f" [{notes.index(row.note) + 1}]" if row.note else ""
        lines.append(f"| {name}{mark} | {' | '.join(others)} |")
    disturbed = [f"{row.name} {row.others:.0%}" for row in rows if row.others is not None and row.others > BUSY]
    if disturbed:
        lines += ["", f"**Not a quiet machine.** Share of the cores that other work took: {'; '.join(disturbed)}."]
    lines += ["", *(f"{index}. {note}" for index, note in enumerate(notes, 1))]
    return "\n".join(lines).rstrip() + "\n"


def write(folder: Path, rows: Sequence[Row], where: dict[str, str]) -> Path:
    """Write ``<device>.md`` and ``<device>.csv`` into a folder and return the first."""
    stem = slug(where["device"], where["cores"])
    write_text(folder / f"{stem}.md", markdown(rows, where))
    write_text(folder / f"{stem}.csv", to_csv([*COLUMNS, *where], [{**row.record(), **where} for row in rows]))
    return folder / f"{stem}.md"
