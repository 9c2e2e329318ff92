"""GIN: random shallow networks of intensities, as an augmentation by itself.

The first half of CSDG (Ouyang et al., IEEE TMI 2022, arXiv 2111.12525) without blending and without a term of
agreement, as DG-TTA (Weihsbach et al., Sensors 25(17):5603, 2025) trains nnU-Net with it. CSDG's own ablation, three
unblended views that must agree, is ``csdg`` with ``ipa = false``.
"""

import torch
from torch import Tensor

from .parts.gin import GINConfig, draw_sizes, random_rendering
from .parts.rendering import Rendering


class GIN(Rendering):
    """Supervise one randomly rendered view of the normalised batch; the network never sees an image as it is."""

    Config = GINConfig

    def render(self, image: Tensor, label: Tensor, rng: torch.Generator) -> Tensor:  # noqa: ARG002 - the interface
        """Return the images, each mixed with the output of a random network of its own."""
        [sizes] = draw_sizes(self.config, 1, rng)
        return random_rendering(image, sizes, self.config, rng)
