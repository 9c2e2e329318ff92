"""Ensembles as they are kept below a results folder.

``ensembles/<suite>/<row>/`` holds ``row.json`` and ``evaluations/`` as a run's folder does. The ``train_id`` of an
evaluation is the digest of its members': where a member is another, an ensemble is another. ``weights`` are the
digests of their final weights, which a run that is trained anew may have others of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..digests import digest
from .external import ROW_FILE, described_rows
from .files import read_object, write_json
from .run_folder import final_weights_digest, folder_name


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEnsemble:
    """Content of a ``row.json``."""

    folder: Path
    id: str
    base: str  # id of the row whose seeds are averaged
    members: tuple[int, ...]  # seeds
    protocols: tuple[str, ...]  # under which it was made

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {"id": self.id, "base": self.base, "members": self.members, "protocols": self.protocols}

    def write(self) -> None:
        """Write the file, under a lease of its folder; protocols of an earlier one of the same members stay in it."""
        path, protocols = self.folder / ROW_FILE, set(self.protocols)
        earlier = read_object(path, lenient=True)
        if (earlier.get("base"), earlier.get("members")) == (self.base, [*self.members]):
            protocols |= {*earlier.get("protocols", ())}
        write_json(path, {**self.to_json(), "protocols": sorted(protocols)})


def ensemble_folder(results_root: Path, suite: str, row: str) -> Path:
    """Return the folder of an ensemble."""
    return _ensembles(results_root, suite) / row


def _ensembles(results_root: Path, suite: str) -> Path:
    return results_root / "ensembles" / folder_name(suite)


def ensemble_id(members: Iterable[str]) -> str:
    """Return what stands for the ``train_id`` of an ensemble of runs with some ids."""
    return digest({"ensemble": sorted(members)})


def has_weights_of(evaluation: Mapping[str, Any], members: Iterable[Path]) -> bool:
    """Tell whether the content of an ``evaluation.json`` is of the final weights that runs in some folders have now.

    True of what cannot be told: of weights that were removed, and of an evaluation by an earlier version.
    """
    stored = evaluation.get("weights")
    return stored is None or {final_weights_digest(run) for run in members} <= {*stored, ""}


def stored_ensembles(results_root: Path, suite: str) -> list[StoredEnsemble]:
    """Return the ensembles of a suite, by id; UsageError for a damaged ``row.json``."""
    rows = described_rows(_ensembles(results_root, suite), _read, "make the ensemble again")
    return [StoredEnsemble(folder=folder, **facts) for folder, facts in rows]


def _read(data: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {"members": tuple(map(int, data["members"])), "protocols": tuple(map(str, data["protocols"]))}
    return {**{name: str(data[name]) for name in ("id", "base")}, **numbers}
