"""Training batches and validation cases of a run, on its device."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from ssdg.methods import load_method

from ..data.loader import Batches, Pool, pool
from ..data.prepared import PreparedDomain
from ..data.run_data import RunData
from ..spec import RunRequest


class TrainingData(NamedTuple):
    """The batches of a run, and the labelled cases scored meanwhile by their column of ``history.csv``."""

    batches: Batches
    validation: dict[str, Pool]


def training_data(
    request: RunRequest, run_data: RunData, prepared: Mapping[str, PreparedDomain], device: torch.device
) -> TrainingData:
    """Return the pools of a run; of the targets only those that its method or its selection may see."""
    source = prepared[run_data.source.domain.name]
    validation = {"held_out_dsc": pool(source, run_data.validation, device)}
    unlabelled, window = None, request.training.window
    if run_data.target is not None:
        target = prepared[run_data.target.domain.name]
        if load_method(request.method).access == "uda":
            unlabelled = pool(target, target.ids, device, labelled=False, at_least=window)
        if request.training.selection == "oracle":
            validation["oracle_dsc"] = pool(target, target.ids, device)
    slices = run_data.source.domain.slices
    keep = slices.keep if slices else "all"
    training = pool(source, run_data.training, device, keep=keep, at_least=window)
    return TrainingData(Batches(training, unlabelled, request.training.batch_size, request.seed), validation)
