"""Base of methods that supervise one random rendering of the normalised images, alone or next to the images."""

from typing import ClassVar

import torch
from torch import Tensor

from ..base import Batch, Method, StepContext, Terms
from ..losses import soft_dice


class Rendering(Method):
    """Supervise one rendering of the normalised batch; subclasses say how it is made."""

    clean: ClassVar[bool] = False
    """Whether the images themselves are supervised too, each of the two forward passes with half the weight."""

    def render(self, image: Tensor, label: Tensor, rng: torch.Generator) -> Tensor:
        """Return one random rendering (B, C, *S) of normalised images (B, C, *S) with labels (B, 1, *S)."""
        raise NotImplementedError

    def training_step(self, batch: Batch, context: StepContext) -> Terms:
        """Return the supervised term of the rendering, and that of the images where ``clean``."""
        batch = self.augment(batch, context.rng)
        image = self.prepare(batch.image, batch.foreground, batch.frame)
        with torch.no_grad():
            rendering = self.render(image, batch.label, context.rng)
        if not self.clean:
            return {"segmentation": soft_dice(self.network(rendering).logits, batch.label)}
        # Two passes, not one of twice the images: batch normalisation must not mix their statistics.
        terms = {"rendering": rendering, "segmentation": image}
        return {name: soft_dice(self.network(view).logits, batch.label) / 2 for name, view in terms.items()}

    def example(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return one rendering of the normalised images."""
        batch = self.augment(batch, rng)
        return self.render(self.prepare(batch.image, batch.foreground, batch.frame), batch.label, rng)
