"""A working method to start from, as ``bench new method NAME`` writes it: random gamma curves.

Change the mathematics, keep the shape. Try it::

    bench check template.py:Template
    bench run --plugin template.py --method template --target phantom2d-b

Steps to override, in the order of most methods' needs:

* ``augment(batch, rng)``: images in [0, 1] (B, C, *S), labels (B, 1, *S); return a new batch. Enough for a pure
  augmentation. Each image is z-scored afterwards, so that one gain or offset for all of its values does nothing. In
  a subclass of another method it comes before that method's own views.
* ``training_step(batch, context)``: call ``self.augment(batch, context.rng)`` first, once; return named loss terms,
  already weighted; the loop minimises their sum. For several views, consistency terms, features (``self.network``
  returns logits, last decoder map and bottleneck map).
* ``prepare(image, foreground, frame)``: the normalisation, in training and prediction alike. ``batch.frame`` tells of
  a window's whole image what ``statistics`` returns; ``margin`` asks for voxels around the window.
* ``logits(prepared, foreground)``: the prediction; only if it is not the plain forward pass.

Rules (``bench check`` tests them): draw from ``rng`` alone, never modify inputs, keep all state in parameters and
buffers, never call an optimiser.
"""

from dataclasses import dataclass, field, replace

import torch

from ssdg.methods.base import Batch, Method  # absolute: a copy of this file lives anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateConfig:
    """Settings, each with a default and its source (``--set method.strength=...``, ``bench info``)."""

    strength: float = field(default=0.5, metadata={"source": "choice: gammas between 0.6 and 1.6", "range": (0.1, 1)})
    probability: float = field(default=1.0, metadata={"source": "choice: every image"})


class Template(Method):
    """Raise each training image to a random power: log γ ~ U(-strength, strength)."""

    id = "template"  # of --method
    label = "Template"  # in tables
    Config = TemplateConfig

    def augment(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Return the batch with new contrasts; one γ an image, labels untouched."""
        shape = (batch.image.shape[0], *[1] * (batch.image.ndim - 1))
        draw, coin = torch.rand((2, *shape), generator=rng, device=batch.image.device)
        gamma = ((2 * draw - 1) * self.config.strength).exp()
        image = torch.where(coin < self.config.probability, batch.image.pow(gamma), batch.image)
        return replace(batch, image=image)
