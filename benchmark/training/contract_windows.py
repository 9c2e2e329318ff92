"""The contract's checks of a method on windows alone."""

import torch
import torch.nn.functional as F

from ssdg.methods.base import Frame, Method

from .contract_fixture import CLASSES, GRIDS, SURROUNDINGS, MethodUnderTest, box, require, require_all_finite
from .inference import Inference


def check_window_normalisation(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where an unaugmented window is not prepared as in its whole image."""
    method = subject.method().eval()
    image, foreground = subject.images(1)
    margin, sides = method.margin(), GRIDS[subject.ndim][1:]
    # The images' borders go on into the margin, as they do for filters on whole images.
    around = [margin] * (2 * subject.ndim)
    wide = [F.pad(maps.float(), around, mode="replicate") for maps in (image, foreground)]
    with torch.no_grad():
        whole = method.prepare(image, foreground)
        for start in (0, SURROUNDINGS // 2, SURROUNDINGS):
            outer = box(start, [side + 2 * margin for side in sides])
            window, inside = wide[0][outer], wide[1][outer] > 0
            frame = Frame(method.statistics(image, foreground), method.statistics(window, inside))
            prepared = method.prepare(window, inside, frame)[box(margin, sides)]
            off = float((prepared - whole[box(start, sides)]).abs().max())
            require(
                off < 1e-4,
                f"a window is prepared differently from its whole image, by up to {off:.2g}: prepare has to use "
                "`frame`, statistics to return what it needs of the whole image, and margin its reach",
            )


def check_window_prediction(subject: MethodUnderTest) -> None:
    """Raise CheckFailed where images larger than the window cannot be predicted."""
    method = subject.method().eval()
    image, foreground = subject.images(1)
    require(type(method).predict is Method.predict, "predict is replaced: override logits, which windows go through")
    logits = Inference("fp32", GRIDS[subject.ndim][1:]).logits(method, image, foreground)
    shape = (len(image), CLASSES, *subject.grid)
    require(tuple(logits.shape) == shape, f"windows give logits {tuple(logits.shape)}, expected {shape}")
    require_all_finite({"logits": logits}, "predictions in windows")
