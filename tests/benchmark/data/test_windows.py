"""Windows: where they lie, what they show, and that only the step decides."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssdg.benchmark.data.loader import Batches, Pool, pool
from ssdg.benchmark.data.prepared import PreparedDomain
from ssdg.benchmark.data.windows import LABELLED, Centres, Sampler, WindowBatches, Windows, labelled_share
from ssdg.methods.base import Method
from ssdg.methods.transforms.affine import AffineRange, draw_affine, reach

TURNED = AffineRange(
    flip_axes=(0, 1),
    rotation_probability=1.0,
    rotation=30.0,
    scaling_probability=1.0,
    scaling=(0.8, 1.3),
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def statistics(image, foreground):
    axes = tuple(range(1, image.ndim))
    return torch.stack([image.mean(axes), image.amax(axes)], dim=1)


def numbered(ndim=2, side=16, count=3):
    """Return a pool whose labels number the voxels of a grid of at most 256, and whose images are random."""
    shape = {2: (side, side), 3: (8, 8, 4)}[ndim]
    label = torch.arange(torch.Size(shape).numel(), dtype=torch.uint8).view(1, 1, *shape)
    image = torch.randint(0, 256, (count, 2, *shape), generator=rng(5), dtype=torch.uint8)
    foreground = torch.ones((count, 1, *shape), dtype=torch.bool)
    return Pool(image, label.expand(count, *label.shape[1:]).clone(), foreground, torch.arange(count))


def draw(pool, windows, seed=0, affine=None, index=None):
    index = torch.arange(len(pool)) if index is None else index
    return Sampler(pool, windows, statistics).draw(index, affine, rng(seed), rng(seed + 1))


def corner_of(label, pool):
    """Return the first voxel of a window along each axis."""
    return [int(part) for part in torch.unravel_index(label.flatten()[0], pool.image.shape[2:])]


@pytest.mark.parametrize(("ndim", "shape"), [(2, (8, 4)), (3, (4, 8, 2))])
def test_a_window_is_a_part_of_its_image(ndim, shape):
    pool = numbered(ndim)
    cut = draw(pool, Windows(shape, per_image=4))
    assert cut.image.shape == (12, 2, *shape)
    for position, (image, label) in enumerate(zip(cut.image, cut.label, strict=True)):
        own = position // 4  # the windows of an image lie side by side
        starts = corner_of(label, pool)
        box = tuple(slice(start, start + side) for start, side in zip(starts, shape, strict=True))
        assert torch.equal(label[0], pool.label[own, 0][box].long())
        assert torch.equal(image, pool.image[(own, slice(None), *box)].float() / 255)


def test_statistics_are_those_of_the_image_and_of_the_window():
    pool = numbered()
    cut = draw(pool, Windows((8, 8), per_image=2))
    whole = statistics(pool.images(torch.arange(3)), pool.foreground)
    assert torch.allclose(cut.frame.image, whole.repeat_interleave(2, dim=0))
    assert torch.allclose(cut.frame.window, statistics(cut.image, cut.foreground))


def test_windows_are_centred_on_the_foreground():
    pool = numbered()
    pool.foreground.zero_()[:, :, 9, 6] = True
    cut = draw(pool, Windows((8, 8), per_image=5))
    assert (cut.label[:, 0, 4, 4] == 9 * 16 + 6).all()


def test_an_image_without_foreground_is_shown_anywhere():
    pool = numbered()
    pool.foreground.zero_()
    corners = {int(label.min()) for label in draw(pool, Windows((8, 8), per_image=40)).label}
    assert len(corners) > 20


def test_every_centre_is_as_likely_and_windows_stay_inside():
    pool = numbered(side=10)
    voxels = Centres.of(pool).draw(torch.zeros(20_000, dtype=torch.long), 0.0, rng())
    counts = torch.bincount(voxels, minlength=100)
    assert counts.min() > 130  # 200 expected, standard deviation 14
    assert counts.max() < 270


def test_the_share_of_labelled_centres_and_each_class_as_likely():
    pool = numbered()
    pool.label.zero_()[:, :, 2, 3] = 1
    pool.label[:, :, 8:12, 8:12] = 2
    voxels = Centres.of(pool).draw(torch.zeros(9_000, dtype=torch.long), 0.5, rng())
    labels = pool.label[0].flatten()[voxels]
    assert (labels == 1).float().mean() == pytest.approx(0.25 + 0.5 / 256, abs=0.02)
    assert (labels == 2).float().mean() == pytest.approx(0.25 + 0.5 * 16 / 256, abs=0.02)


def test_an_image_without_labelled_voxels_is_centred_on_its_foreground():
    pool = numbered()
    pool.label.zero_()
    pool.label[1, :, 3, 3] = 1  # only the second image has one
    centres = Centres.of(pool)
    assert len(set(centres.draw(torch.zeros(200, dtype=torch.long), 1.0, rng()).tolist())) > 50
    assert set(centres.draw(torch.ones(50, dtype=torch.long), 1.0, rng()).tolist()) == {3 * 16 + 3}


def test_labels_are_sought_where_a_class_is_small():
    pool = numbered()
    pool.label.zero_()
    pool.label[:, :, :4] = 1  # a quarter
    assert labelled_share(pool, None) == 0
    pool.label[:, :, 10, :8] = 2  # a thirtieth
    assert labelled_share(pool, None) == LABELLED
    pool.foreground[:, :, 10] = False
    assert labelled_share(pool, None) == 0
    assert labelled_share(pool, 0.7) == 0.7


@pytest.mark.parametrize("margin", [1, 5])
def test_a_margin_surrounds_the_window_and_goes_on_as_the_border_does(margin):
    pool = numbered()
    narrow, wide = (draw(pool, Windows((8, 8), per_image=8, margin=size)) for size in (0, margin))
    for own, (image, label, inner) in enumerate(zip(wide.image, wide.label, narrow.label, strict=True)):
        assert torch.equal(label[:, margin:-margin, margin:-margin], inner)
        row, column = corner_of(inner, pool)
        padded = F.pad(pool.images(torch.tensor([own // 8])), [margin] * 4, mode="replicate")[0]
        assert torch.equal(image, padded[:, row : row + 8 + 2 * margin, column : column + 8 + 2 * margin])


def test_a_margin_goes_on_as_the_border_does_also_where_windows_are_moved():
    pool = numbered()
    still, moved = (draw(pool, Windows((8, 8), per_image=8, margin=5), affine=map) for map in (None, AffineRange()))
    np.testing.assert_allclose(moved.image, still.image, atol=1e-5)
    assert torch.equal(moved.label, still.label)
    assert torch.equal(moved.foreground, still.foreground)


@pytest.mark.parametrize(("ndim", "shape"), [(2, (8, 6)), (3, (4, 4, 2))])
def test_an_affine_window_is_read_from_the_whole_image_once(ndim, shape):
    pool = numbered(ndim)
    plain = draw(pool, Windows(shape))
    moved = draw(pool, Windows(shape), affine=TURNED)
    theta = draw_affine(TURNED, torch.Size((3, 1, *shape)), rng(1))
    window = F.affine_grid(theta, [3, 1, *shape], align_corners=False)
    for index in range(3):
        corner = corner_of(plain.label[index], pool)
        grid = window[index].clone()
        for axis, (first, side, whole) in enumerate(zip(corner, shape, pool.image.shape[2:], strict=True)):
            # Half sides of the window to voxels of the image, and those to half sides of the image.
            voxel = first + (grid[..., ndim - 1 - axis] + 1) * side / 2
            grid[..., ndim - 1 - axis] = 2 * voxel / whole - 1
        expected = F.grid_sample(pool.images(torch.tensor([index])), grid[None], align_corners=False)
        assert torch.allclose(moved.image[index], expected[0], atol=2e-5)


def test_outside_the_image_a_turned_window_is_no_foreground():
    pool = numbered()
    moved = draw(pool, Windows((16, 16), per_image=4), affine=TURNED)
    assert not moved.foreground.all()
    assert (moved.image[~moved.foreground.expand_as(moved.image)] < 1).all()
    assert moved.label[~moved.foreground].eq(0).all()


@pytest.mark.parametrize("shape", [(32, 16), (16, 24, 32)])
@pytest.mark.parametrize("rotation", [0.0, 15.0, 180.0])
def test_the_box_that_is_read_holds_every_position(shape, rotation):
    affine = AffineRange(rotation_probability=1, rotation=rotation, scaling_probability=1, scaling=(0.5, 1.5))
    theta = draw_affine(affine, torch.Size((2000, 1, *shape)), rng())
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=len(shape))))
    reached = (theta[:, :, :-1] @ corners.T).abs().amax(dim=(0, 2)).flip(0)  # in half sides of the window
    box = reach(affine, shape)
    for outer, side, farthest in zip(box, shape, reached.tolist(), strict=True):
        assert (outer - side) % 2 == 0
        assert side / 2 * farthest + 1 <= outer / 2 <= side / 2 * farthest * 1.25 + 4


@pytest.mark.parametrize("margin", [0, 3])
def test_images_of_different_size(margin):
    whole = numbered()
    own = ((16, 16), (10, 12), (8, 16))
    parts = [
        [maps[index, ..., :height, :width].numpy() for index, (height, width) in enumerate(own)]
        for maps in (whole.image, whole.label[:, 0], whole.foreground[:, 0])
    ]
    ids = ("a", "b", "c")
    ragged = pool(PreparedDomain("toy", ids, ids, *parts, geometries=(), digest=""), ids, torch.device("cpu"))
    assert ragged.label.shape == (16 + 10 + 8, 16)
    for index, part in enumerate(ragged.chunks(4)):
        for maps, stored in zip((part.image[0], part.label[0, 0], part.foreground[0, 0]), parts, strict=True):
            assert np.array_equal(maps, stored[index])
    cut = draw(ragged, Windows((8, 8), per_image=30, margin=margin))
    images = torch.cat([whole.images(torch.tensor([index] * 30)) for index in range(3)])
    for image, corner, drawn in zip(images, cut.label[:, 0, margin, margin], cut.image, strict=True):
        row, column = int(corner) // 16, int(corner) % 16
        inner = slice(margin, margin + 8)
        assert torch.equal(drawn[:, inner, inner], image[:, row : row + 8, column : column + 8])
    rows, columns = cut.label[:, 0] // 16, cut.label[:, 0] % 16
    inner = slice(margin, margin + 8)
    for index, (height, width) in enumerate(own):
        mine = slice(30 * index, 30 * index + 30)
        assert rows[mine].max() < height
        assert columns[mine].max() < width
        assert rows[mine, inner, inner].diff(dim=1).eq(1).all(), "a window is no border that goes on"
        assert columns[mine, inner, inner].diff(dim=2).eq(1).all()


def test_a_step_decides_alone():
    source, target = numbered(count=5), numbered(count=3)
    target = Pool(target.image, None, target.foreground, target.case)
    method = Method(torch.nn.Identity())
    stream = WindowBatches(Batches(source, target, 2, 0), Windows((8, 8), 2, 0.5, 1), method.statistics)

    def batch(step):
        return stream.at(step, TURNED, rng(step), rng(100 + step))

    first = batch(4)
    batch(1)
    again = batch(4)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(batch(5).image, first.image)
    assert first.image.shape == (4, 2, 10, 10)
    assert first.target.shape == (4, 2, 10, 10)
    assert first.margin == 1
    assert torch.equal(first.frame.image[0], first.frame.image[1])
    assert first.target_frame.window.shape == (4, 2)
