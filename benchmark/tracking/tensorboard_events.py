"""TensorBoard: a folder of event files for each run, below ``tracking/tensorboard`` of the results root."""

import json
import time
from collections.abc import Mapping, Sequence

from torch.utils.tensorboard import SummaryWriter

from ..progress import Row
from .observers import End, ObservedRun


class TensorBoard:
    """Writes scalars over epochs, counted from 1.

    A resumed run adds a file to its folder that voids the earlier ones, by a purge from step 0, and begins with the
    whole history: no epoch is there twice and none is lost, in whichever processes they were trained.
    """

    def begin(self, run: ObservedRun, history: Sequence[Row]) -> None:
        """Open a file and write the epochs so far, at the times they took before now."""
        folder = run.tracking / "tensorboard" / run.task / f"{run.name.replace(' ', '-')}-{run.train_id}"
        self._writer = SummaryWriter(str(folder), purge_step=0)
        settings = json.dumps(dict(run.settings), indent=1, default=str)
        self._writer.add_text("settings", "\n".join(f"    {line}" for line in settings.splitlines()), 0)
        ends = time.time() - sum(float(row.get("seconds", 0)) for row in history)
        for row in history:
            ends += float(row.get("seconds", 0))
            self._write(row, ends)
        self._writer.flush()

    def epoch(self, row: Row) -> None:
        """Write an epoch, and leave it to the system before a checkpoint counts it."""
        self._write(row, time.time())
        self._writer.flush()

    def scores(self, dsc: Mapping[str, float]) -> None:
        """Write each domain's DSC at the last epoch."""
        for domain, value in dsc.items():
            self._writer.add_scalar(f"dsc/{domain}", value, self._epochs)

    def end(self, state: End) -> None:
        """Write how the run ended, and close the file."""
        self._writer.add_text("state", state, self._epochs)
        self._writer.close()

    def _write(self, row: Row, at: float) -> None:
        self._epochs = int(row["epoch"]) + 1
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(f"history/{name}", value, self._epochs, walltime=at)
