"""A small labelled pool and a toy request, for tests of the loop."""

import numpy as np
import pytest
import torch

from ssdg.benchmark.data.loader import Pool
from ssdg.benchmark.spec import NetworkConfig, OptimizerConfig, RunRequest, TrainingConfig


def make_pool(count=5, side=16, seed=0, labelled=True):
    """Return bright discs on dark grounds as a device-resident pool of 2D RGB cases."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    centre = rng.uniform(4, side - 4, (count, 2))
    label = ((y - centre[:, :1, None]) ** 2 + (x - centre[:, 1:, None]) ** 2 < 12).astype(np.uint8)
    image = np.clip(60 + 120 * label[:, None] + rng.normal(0, 10, (count, 3, side, side)), 0, 255).astype(np.uint8)
    return Pool(
        case=torch.arange(count),
        image=torch.from_numpy(image),
        label=torch.from_numpy(label)[:, None] if labelled else None,
        foreground=torch.ones(count, 1, side, side, dtype=torch.bool),
    )


@pytest.fixture
def toy_pool():
    return make_pool()


@pytest.fixture
def toy_request():
    return RunRequest(
        task="toy",
        source="toy",
        method="erm",
        training=TrainingConfig(epochs=4, batch_size=2, augmentation="none", validation_interval=2),
        optimizer=OptimizerConfig(lr=1e-3),
        network=NetworkConfig(init_filters=8),
    )
