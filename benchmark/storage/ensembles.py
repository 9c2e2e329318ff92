"""Ensembles as they are kept below a results folder.

``ensembles/<suite>/<row>/`` holds ``row.json`` and ``evaluations/`` as a run's folder does. The ``train_id`` of an
evaluation is the digest of its members': where a member is another, an ensemble is another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..digests import digest
from ..errors import UsageError
from .files import read_object
from .run_folder import folder_name

ROW_FILE = "row.json"


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


def ensembles_folder(results_root: Path, suite: str) -> Path:
    """Return the folder of a suite's ensembles."""
    return results_root / "ensembles" / folder_name(suite)


def ensemble_id(members: Iterable[str]) -> str:
    """Return what stands for the ``train_id`` of an ensemble of runs with some ids."""
    return digest({"ensemble": sorted(members)})


def stored_ensembles(results_root: Path, suite: str) -> list[StoredEnsemble]:
    """Return the ensembles of a suite, by id; UsageError for a damaged ``row.json``."""
    ensembles = []
    for path in sorted(ensembles_folder(results_root, suite).glob(f"*/{ROW_FILE}")):
        try:
            data: Mapping[str, Any] = read_object(path)
            members, protocols = tuple(map(int, data["members"])), tuple(map(str, data["protocols"]))
            names = {name: str(data[name]) for name in ("id", "base")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is damaged ({type(error).__name__}: {error}): remove it and make the ensemble again"
            ) from None
        ensembles.append(StoredEnsemble(folder=path.parent, members=members, protocols=protocols, **names))
    return ensembles
