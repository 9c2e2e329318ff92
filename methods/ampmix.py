"""AmpMix: amplitude spectra mixed between images of the source, phases kept.

Xu, Zhang, Zhang, Wang, Tian: A Fourier-based Framework for Domain Generalization (FACT), CVPR 2021, code
MediaBrain-SJTU/FACT. As ``mode = "swap"`` the exchange of low frequencies of Yang, Soatto: FDA, CVPR 2020, code
YanchaoYang/FDA. FACT draws partners from several sources, FDA from the target; here both images are of one source:
the ablation of RASS, with amplitudes of another image in place of noise.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from .base import Batch, Method, require
from .parts.partners import draw_partners
from .parts.spectrum import mix_amplitudes


@dataclass(frozen=True, slots=True, kw_only=True)
class AmpMixConfig:
    """Settings of the two modes."""

    mode: Literal["mix", "swap"] = field(
        default="mix", metadata={"source": "FACT: all frequencies, in random shares; swap: FDA, low ones entirely"}
    )
    eta: float = field(
        default=1.0, metadata={"source": "FACT's code: the partner's share is uniform up to it", "range": (0.1, 1)}
    )
    beta: float = field(
        default=0.05,
        metadata={
            "source": "FDA's code, the second of its three (0.01, 0.05, 0.09); ASC: 0.045 and 0.05. Frequencies "
            "swapped, as a share of the shortest side; plays no part in mode 'mix'"
        },
    )

    def __post_init__(self) -> None:
        require(0 <= self.eta <= 1, "method.eta must lie between 0 and 1")
        require(0 <= self.beta <= 0.5, "method.beta must lie between 0 and 0.5")


class AmpMix(Method):
    """Give each image of the batch amplitudes of another; the batch must have at least two images.

    Where training sees windows, spectra are those of the windows, and a partner may be another window of the same
    image. Like RASS, it changes whatever lies outside a foreground mask too.
    """

    # Departure: FACT's teacher and its agreement of predictions are left out, to compare augmentations alone; FACT
    # also trains on the images as they are, which a share near 0 amounts to.

    needs = frozenset({"partner"})
    Config = AmpMixConfig

    def augment(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Return the batch with mixed amplitudes, clipped to [0, 1]; phases, labels and foreground untouched.

        Raises:
            MethodError: the batch is a single image, which has no partner.
        """
        image, config = batch.image, self.config
        count = len(image)
        partner = image[draw_partners(count, rng, "ampmix", each_once=True)]
        share = torch.rand((count, *[1] * (image.ndim - 1)), generator=rng, device=image.device) * config.eta
        corner = None
        if config.mode == "swap":
            share, corner = torch.ones_like(share), int(config.beta * min(image.shape[2:]))
        # Departure: clipped, as FACT's images of 8 bits are; FDA's code leaves values outside the range.
        return replace(batch, image=mix_amplitudes(image, partner, share, corner).clamp(0, 1))
