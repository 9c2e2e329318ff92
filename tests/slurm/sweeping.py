"""``bench`` on a cluster: its verbs as processes, and what they leave on disk and in the queue."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from ssdg.benchmark.launching.local import BENCH
from ssdg.benchmark.storage.attempts import read_record
from ssdg.benchmark.storage.lease import is_gone, read_owner
from ssdg.benchmark.storage.results_reader import read_history

from ..processes import Process
from ..suites import suite_file
from .cluster import Cluster


@dataclass(frozen=True)
class Sweep:
    """A suite, with a results folder of its own."""

    cluster: Cluster | None  # None: --launcher local, one run at a time
    data: Path
    folder: Path
    options: tuple[str, ...] = ()
    launch: tuple[str, ...] = ()

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def pack(self) -> int:
        """Runs of an allocation."""
        return int(self.launch[self.launch.index("--pack") + 1]) if "--pack" in self.launch else 1

    @property
    def suite(self) -> Path:
        return self.folder / "toys.toml"

    def write(self, *methods: str, seeds: int = 1, epochs: int = 2) -> "Sweep":
        self.folder.mkdir(parents=True, exist_ok=True)
        suite_file(self.suite, methods, seeds=range(seeds), settings={"training.epochs": epochs})
        return self

    def command(self, verb: str, *more: str) -> list[str]:
        arguments = [verb, str(self.suite), "--results-root", str(self.results), *self.options]
        if verb in ("sweep", "retry"):
            arguments += ["--data-root", str(self.data), "--launcher", "slurm" if self.cluster else "local"]
            arguments += self.launch
        return [*BENCH, *arguments, *more]

    def start(self, verb: str, *more: str) -> Process:
        return Process(self.command(verb, *more), self.cluster.environment() if self.cluster else {})

    def __call__(self, verb: str, *more: str, expect: int = 0) -> str:
        return self.start(verb, *more).finish(expect)

    def status(self) -> dict[str, dict]:
        """Return the lines of ``bench status --json`` by row and seed: "erm s0"."""
        process = self.start("status", "--json")
        process.until(lambda: process.poll() is not None, "the states")  # its exit status tells of them
        return {f"{line['row']} s{line['seed']}": line for line in json.loads(process.output())}

    def states(self) -> dict[str, str]:
        return {name: line["state"] for name, line in self.status().items()}

    def runs(self) -> list[Path]:
        return sorted(path.parent for path in self.results.glob("runs/*/*/*/spec.json"))

    def starts(self) -> dict[str, int]:
        """Return how often each run was started."""
        return {run.name: len(read_record(run).get("starts", [])) for run in self.runs()}

    def trained(self) -> float:
        """Return the seconds of all epochs that count."""
        return sum(float(row["seconds"]) for run in self.runs() for row in read_history(run))

    def weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the final weights of each run, by the name of its folder."""
        files = {run.name: run / "checkpoints" / "final.pt" for run in self.runs()}
        return {name: torch.load(file, weights_only=True)["weights"] for name, file in files.items()}

    def owners(self) -> list[Path]:
        """Return the runs that a live process works on."""
        return [run for run in self.runs() if (owner := read_owner(run)) is not None and not is_gone(owner)]

    def training(self) -> list[Path]:
        """Return the runs that have finished an epoch and are still worked on."""
        return [run for run in self.owners() if (run / "history.csv").exists()]


def assert_bitwise(found: dict[str, dict[str, torch.Tensor]], calm: dict[str, dict[str, torch.Tensor]]) -> None:
    """Check that runs have the weights that the runs of the same names have undisturbed."""
    assert found
    for run, weights in found.items():
        different = [name for name, value in weights.items() if not torch.equal(value, calm[run][name])]
        assert not different, (run, different)
        assert weights.keys() == calm[run].keys()
