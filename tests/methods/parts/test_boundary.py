"""Contours and rings against binary morphology, and the contrast of the features in them against its formula."""

import pytest
import torch
from scipy import ndimage

from ssdg.methods.parts.boundary import boundary_contrast, boundary_regions, separation


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_label(count=2, side=32):
    label = torch.zeros((count, 1, side, side), dtype=torch.long)
    label[:, :, 8:24, 8:24] = 1
    label[:, :, 12:18, 13:20] = 2
    return label


def disc(side=41, radius=9):
    axis = torch.arange(side) - side // 2
    return (axis[:, None].square() + axis.square() <= radius**2).long()[None, None]


def test_contour_and_ring_of_a_disc():
    label = disc()
    contour, ring = boundary_regions(label, 2, 5)[0, :, 0]
    inside = label[0, 0].bool()
    assert contour.any()
    assert (contour & ~inside).sum() == 0
    assert ring.any()
    assert (ring & inside).sum() == 0
    # The cross grows city blocks: the ring is what lies within 5 steps of the disc, 5 pixels wide along the axes.
    steps = torch.from_numpy(ndimage.distance_transform_cdt(~inside.numpy(), metric="taxicab"))
    assert torch.equal(ring, (steps >= 1) & (steps <= 5))
    assert ring[20].nonzero().flatten().tolist() == [*range(6, 11), *range(30, 35)]


@pytest.mark.parametrize("density", [0.02, 0.3, 0.8])
def test_regions_are_those_of_binary_morphology_borders_included(density):
    label = (torch.rand((3, 1, 24, 19), generator=rng()) < density).long()
    regions = boundary_regions(label, 2, 5)
    for mask, (contour, ring) in zip(label[:, 0].bool().numpy(), regions[:, :, 0].numpy(), strict=True):
        assert (contour == (mask & ~ndimage.binary_erosion(mask))).all()
        assert (ring == (ndimage.binary_dilation(mask, iterations=5) & ~mask)).all()


def test_a_vessel_of_two_pixels_is_all_contour():
    label = torch.zeros((1, 1, 20, 20), dtype=torch.long)
    label[..., 9:11, :] = 1
    contour, ring = boundary_regions(label, 2, 2)[0, :, 0]
    assert torch.equal(contour, label[0, 0].bool())
    assert ring.any(1).nonzero().flatten().tolist() == [7, 8, 11, 12]


def test_each_foreground_class_has_regions_of_its_own():
    regions = boundary_regions(make_label(), 3, 5)
    assert regions.shape == (2, 2, 2, 32, 32)
    for structure in (0, 1):
        alone = (make_label() == structure + 1).long()
        assert torch.equal(regions[:, :, structure], boundary_regions(alone, 2, 5)[:, :, 0])


def test_separation_is_the_mean_over_ordered_pairs_of_one_group():
    embedding = torch.randn((1, 6, 5), generator=rng())
    present = torch.tensor([[True, True, True, True, False, True]])
    unit = embedding[0] / embedding[0].norm(dim=1, keepdim=True)
    similarity = (unit @ unit.T / 0.3).exp()
    losses = []
    for group, others in (([0, 1, 2], [3, 5]), ([3, 5], [0, 1, 2])):
        for a in group:
            negatives = sum(similarity[a, n] for n in others)
            losses += [-(similarity[a, p] / (similarity[a, p] + negatives)).log() for p in group if p != a]
    assert torch.allclose(separation(embedding, present, 0.3)[0], torch.stack(losses).mean(), atol=1e-5)


def test_separated_groups_have_the_lower_loss():
    noise = torch.randn((1, 8, 16), generator=rng())
    present = torch.ones((1, 8), dtype=torch.bool)
    centre = torch.zeros((1, 8, 16))
    centre[:, :4, 0], centre[:, 4:, 1] = 1, 1
    apart, mixed = separation(centre + 0.05 * noise, present, 0.05), separation(noise, present, 0.05)
    assert apart < 0.01 < mixed


def make_features(count=3, seed=0):
    return [torch.randn((count, 8, 32, 32), generator=rng(seed + view)) for view in (0, 1)]


def test_order_of_images_and_of_views_does_not_matter():
    first, second = make_features()
    label = make_label(3)
    label[1] = label[1].roll((3, -4), (1, 2))
    regions, order = boundary_regions(label, 3, 5), torch.tensor([2, 0, 1])
    loss = boundary_contrast([first, second], regions, 0.05)
    assert torch.allclose(loss, boundary_contrast([first[order], second[order]], regions[order], 0.05), atol=1e-5)
    assert torch.allclose(loss, boundary_contrast([second, first], regions, 0.05), atol=1e-5)
    one, two = (boundary_contrast([first, second], regions[:, :, s : s + 1], 0.05) for s in (0, 1))
    assert torch.allclose(loss, one + two, atol=1e-5)


def test_embeddings_are_means_of_normalised_rectified_features():
    views, regions = make_features(), boundary_regions(make_label(3), 2, 5)
    vectors = []
    for group in (0, 1):
        for view in views:
            for features, masks in zip(view, regions, strict=True):
                deviation, mean = torch.std_mean(features, dim=(1, 2), correction=0, keepdim=True)
                rectified = ((features - mean) / (deviation.square() + 1e-5).sqrt()).relu()
                vectors.append(rectified[:, masks[group, 0]].mean(dim=1))
    expected = separation(torch.stack(vectors)[None], torch.ones((1, 12), dtype=torch.bool), 0.05)
    assert torch.allclose(boundary_contrast(views, regions, 0.05), expected[0], atol=1e-4)


def test_an_image_without_the_structure_changes_nothing_and_gives_no_nan():
    views = [view.requires_grad_() for view in make_features()]
    label = make_label(3)
    label[2] = 0
    loss = boundary_contrast(views, boundary_regions(label, 3, 5), 0.05)
    shorter = boundary_contrast([view[:2] for view in views], boundary_regions(label[:2], 3, 5), 0.05)
    assert torch.allclose(loss, shorter, atol=1e-5)
    assert loss > 0
    for gradient in torch.autograd.grad(loss, views):
        assert torch.isfinite(gradient).all()
        assert gradient[2].abs().max() == 0
        assert gradient[:2].abs().max() > 0


def test_contrast_does_not_depend_on_the_precision():
    views, regions = make_features(), boundary_regions(make_label(3), 3, 5)
    plain = boundary_contrast(views, regions, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(boundary_contrast(views, regions, 0.05), plain)
