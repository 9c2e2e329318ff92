"""Semantic-aware normalisation and whitening of feature maps: the two blocks of SAN-SAW.

Both are sums over classes of maps as large as the features. None of these is ever built: a class enters through one
number a voxel, so the statistics of all classes are products of two matrices.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 7
"""Side of the attention's kernel. Source: authors' code."""

INITIAL_DEVIATION = 0.01
"""Initial deviation of the classifier's and the attention's weights. Source: authors' code, of all convolutions."""

BINS = 256
"""Steps of the histogram that stands for a map in :func:`above_lowest_cluster`."""


class SideOutputs(NamedTuple):
    """Intermediate outputs of a block, for the loss."""

    features: Tensor  # (B, channels, *S), what came in
    logits: Tensor  # (B, classes, *S), the side classifier's; no gradient to the features
    normalised: Tensor  # (B, channels, *S) float32, what went out


class SemanticNormalisation(nn.Module):
    """SAN: split a feature map into classes by a side classifier, normalise each part, add them up again.

    ReLU(Σ_c IN(R_c · a_c · q_c · x)) with q the classifier's softmax, a_c an attention over voxels, the sigmoid of a
    convolution of [mean, maximum over the channels of q_c · x; q_c], R_c a region and IN one affine instance
    normalisation for all classes. Source: SAN-SAW, authors' code.

    Args:
        ndim: 2 or 3.
        channels: of the feature map.
        classes: background included.
        branches: attention kernels in use, ``classes`` or 1; parameters exist for all classes.
        clusters: of the map of each class, the lowest of which is cut off; None keeps all voxels.
    """

    def __init__(self, ndim: int, channels: int, classes: int, branches: int, clusters: int | None) -> None:
        super().__init__()
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        self.classifier = convolution(channels, classes, 1)
        self.attention = nn.Parameter(torch.empty((classes, 3, *[WINDOW] * ndim)))
        for weight in (self.classifier.weight, self.attention):
            nn.init.normal_(weight, std=INITIAL_DEVIATION)
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.branches = branches
        self.clusters = clusters
        self.listener: Callable[[SideOutputs], None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map for x (B, channels, *S); same shape and type, not negative."""
        logits = self.classifier(x.detach())
        share = self.attended(x, logits.float().softmax(dim=1))
        normalised = self.normalise(x, share)
        if self.listener is not None:
            self.listener(SideOutputs(x, logits, normalised))
        return normalised.to(x.dtype)

    def attended(self, x: Tensor, probability: Tensor) -> Tensor:
        """Return R_c · a_c · q_c (B, classes, *S): how much of x (B, channels, *S) each class takes."""
        # q_c is not negative: mean and maximum over the channels of q_c x are q_c times those of x.
        mean, largest = x.mean(dim=1, keepdim=True), x.max(dim=1, keepdim=True).values
        cues = torch.cat([probability * mean, probability * largest, probability], dim=1)
        # Dense, with zeros between the classes: measured with 8 of them in 3D, as fast as a grouped convolution with
        # channels last and five times faster without.
        kernel = self.attention[: self.branches].expand_as(self.attention)
        diagonal = torch.eye(len(kernel), device=x.device).view(len(kernel), 1, -1, *[1] * (x.ndim - 2))
        operation: Any = {2: F.conv2d, 3: F.conv3d}[x.ndim - 2]
        response = operation(cues, (kernel[:, :, None] * diagonal).flatten(1, 2), padding=WINDOW // 2)
        attention = response.float().sigmoid()
        share: Tensor = attention * probability
        if self.clusters is None:
            return share
        # Features are signed here and not in the authors' network: the lowest cluster may be a strong response.
        return share * above_lowest_cluster((share * mean).detach(), self.clusters)

    def normalise(self, x: Tensor, share: Tensor) -> Tensor:
        """Return ReLU(Σ_c IN(share_c · x)) in float32 for x (B, channels, *S) and share (B, classes, *S)."""
        return normalise_parts(x, share, self.scale, self.shift).relu()


@contextmanager
def side_outputs(blocks: Iterable[SemanticNormalisation]) -> Iterator[list[SideOutputs]]:
    """Collect the blocks' side outputs of a forward pass in a list, inside a ``with`` block."""
    collected: list[SideOutputs] = []
    blocks = tuple(blocks)
    for block in blocks:
        block.listener = collected.append
    try:
        yield collected
    finally:
        for block in blocks:
            block.listener = None


def normalise_parts(x: Tensor, share: Tensor, scale: Tensor, shift: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Return Σ_c IN(share_c · x): parts of a map, each normalised over the whole grid, added up.

    The mean of a part is Σ_p share_c(p) x(p) / P and its mean square the same of the squares: two matrix products.
    The sum of the normalised parts is x times the sum of share_c / deviation_c, a third, minus a constant.

    Args:
        x: (B, channels, *S).
        share: (B, classes, *S), what each part takes of a voxel.
        scale: (channels,), of the normalisation, the same for all parts.
        shift: (channels,), likewise; it is added once for each part.
        epsilon: added to the variances.

    Returns:
        (B, channels, *S) float32.
    """
    with torch.autocast(x.device.type, enabled=False):  # a variance as the difference of two means needs float32
        flat, part = x.float().flatten(2), share.float().flatten(2)
        voxels = flat.shape[2]
        mean = flat @ part.mT / voxels  # (B, channels, classes), like the two after it
        power = flat.square() @ part.square().mT / voxels
        gain = scale[:, None] * ((power - mean.square()).clamp(min=0) + epsilon).rsqrt()
        offset = shift * part.shape[1] - (mean * gain).sum(dim=2)
        # Transposed there and back: the result has its channels last, as the maps of the network have.
        factor = (part.mT @ gain.mT).mT
        total: Tensor = flat * factor + offset[:, :, None]
        return total.view(x.shape)


def whitening_loss(x: Tensor, weight: Tensor, relaxation: int, floor: bool = False) -> Tensor:
    """Return the SAW loss: mean absolute correlation above a margin of channels of different classes.

    Group k holds the channel with the k-th largest |weight| of each class c, times σ(|weight|): z_c, in all
    ⌊channels / classes⌋ groups. Its loss is max(0, (Σ_{i<j} |z_i · z_j| / (P - 1) - m) / n) over the n pairs of
    classes, averaged over the batch, with m = n / relaxation; the groups' losses add up. No mean is taken off. A
    channel may stand for two classes, whose correlation is then its power and cannot vanish; the margin allows for
    that. Source: SAN-SAW, authors' code.

    Args:
        x: (B, channels, *S), the normalised features.
        weight: (classes, channels), of the side classifier; gets no gradient.
        relaxation: divides the pairs into the margin; 0 is no margin.
        floor: whether the margin is rounded down, as in the authors' code.
    """
    classes, channels = weight.shape
    size, order = weight.detach().float().abs().sort(dim=1, descending=True)
    groups = channels // classes
    gate, order = size[:, :groups].sigmoid(), order[:, :groups]  # (classes, groups)
    first, second = torch.triu_indices(classes, classes, 1, device=x.device)
    with torch.autocast(x.device.type, enabled=False):
        # All channel pairs in one product, of which the groups take theirs: no copy of the features in group order.
        flat = x.float().flatten(2)
        product = flat @ flat.mT / (flat.shape[2] - 1)  # (B, channels, channels)
        correlation = product[:, order[first], order[second]] * gate[first] * gate[second]  # (B, pairs, groups)
        pairs = correlation.shape[1]
        # Departure: the authors round the margin down (``floor``), which changes nothing for the 10 pairs of their 5
        # classes. The single pair of two classes would have no margin: a channel that serves both would be forbidden.
        margin = 0.0
        if relaxation:
            margin = pairs // relaxation if floor else pairs / relaxation
        excess = (correlation.abs().sum(dim=1) - margin) / pairs
        return excess.clamp(min=0).mean(dim=0).sum()


def above_lowest_cluster(values: Tensor, clusters: int) -> Tensor:
    """Return the mask of values above the lowest k-means cluster of each map; 1 for constant maps.

    The optimal one-dimensional k-means of a histogram of each map, by dynamic programming over where clusters end.

    Args:
        values: (B, maps, *S), each clustered by itself.
        clusters: k, at least 2.

    Returns:
        (B, maps, *S) float32.
    """
    # Departure: the authors mean to cluster the maps of a batch together; a prediction must not depend on others.
    # Departure: values are rounded to a 256th of their range, so that it runs on the device.
    flat = values.float().flatten(2).flatten(0, 1)
    low, high = flat.aminmax(dim=1, keepdim=True)
    spread = high - low
    position = (flat - low) / torch.where(spread > 0, spread, 1.0)
    # Also from below: NaN, once a run diverges, is any integer.
    index = (position * BINS).long().clamp(0, BINS - 1)
    rows = torch.arange(len(flat), device=flat.device)[:, None] * BINS
    counts = torch.zeros(len(flat) * BINS, dtype=torch.int64, device=flat.device)
    counts = counts.scatter_add_(0, (index + rows).flatten(), torch.ones_like(index).flatten()).view(-1, BINS)
    cost = _interval_costs(counts.double())
    best = cost[:, :, -1]  # of all bins from the i-th on, as one cluster
    for _ in range(clusters - 2):
        best = (cost + best[:, None, :]).amin(dim=2)
    end = (cost[:, 0] + best).argmin(dim=1, keepdim=True)  # where the lowest of the clusters ends
    keep = (index >= end) | (spread == 0)
    return keep.float().view_as(values)


def _interval_costs(counts: Tensor) -> Tensor:
    """Return (N, bins + 1, bins + 1): squared deviation of the values in bins [i, j) from their mean.

    Infinite unless i < j or i = j = bins: clusters follow one another, and those after the last bin are empty.
    """
    bins = counts.shape[1]
    centre = torch.arange(bins, dtype=counts.dtype, device=counts.device)
    sums = torch.stack([counts, counts * centre, counts * centre.square()]).cumsum(dim=2)
    sums = F.pad(sums, (1, 0))
    weight, total, power = sums[:, :, None, :] - sums[:, :, :, None]  # (N, i, j) each
    cost = (power - total.square() / weight.clamp(min=1)).clamp(min=0)
    edge = torch.arange(bins + 1, device=counts.device)
    forward = (edge[:, None] < edge) | ((edge[:, None] == bins) & (edge == bins))
    return torch.where(forward, cost, torch.inf)
