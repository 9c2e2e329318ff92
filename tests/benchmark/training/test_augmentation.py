import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.training.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    augmentation,
    moderate_geometry,
    nnunet_geometry,
)
from ssdg.methods.base import Batch
from ssdg.methods.transforms import intensity as intensity_module
from ssdg.methods.transforms.affine import AffineRange
from ssdg.methods.transforms.intensity import IntensityChanges

SHAPES = {"2d": (3, 3, 21, 34), "3d": (2, 1, 17, 12, 19)}
CLASSES = 4
FIELDS = ("image", "label", "foreground")
QUIET = IntensityChanges(
    **{f.name: dataclasses.replace(f.default, probability=0.0) for f in dataclasses.fields(IntensityChanges)}
)


def make_batch(shape, seed=0):
    """A smooth image, a label of nested bands and a foreground without its corners."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand((*shape[:2], *[4] * (len(shape) - 2)), generator=rng)
    mode = "bilinear" if len(shape) == 4 else "trilinear"
    image = F.interpolate(coarse, shape[2:], mode=mode, align_corners=False)
    label = (image[:, :1] * CLASSES).long().clamp(max=CLASSES - 1)
    return Batch(image, label, image.mean(dim=1, keepdim=True) > 0.25)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=SHAPES)
def batch(request):
    return make_batch(SHAPES[request.param])


@pytest.fixture(params=["geometric", "nnunet", "nnunet-da5"])
def augment(request):
    return augmentation(request.param)


def equal(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def test_none_returns_the_batch(batch):
    assert augmentation("none")(batch, generator()) is batch


def test_unknown_name_offers_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'geometric'"):
        augmentation("geometrical")


def test_the_names_are_those_of_the_setting():
    import typing

    from ssdg.benchmark.spec import TrainingConfig

    assert set(typing.get_args(typing.get_type_hints(TrainingConfig)["augmentation"])) == set(AUGMENTATIONS)


def test_types_shapes_ranges_and_label_set(batch, augment):
    for seed in range(12):
        out = augment(batch, generator(seed))
        for name in FIELDS:
            before, after = getattr(batch, name), getattr(out, name)
            assert after.shape == before.shape
            assert after.dtype == before.dtype
        assert torch.isfinite(out.image).all()
        assert out.image.min() >= 0
        assert out.image.max() <= 1
        assert set(out.label.unique().tolist()) <= set(range(CLASSES))


def test_same_generator_same_output_and_another_differs(batch, augment):
    first = augment(batch, generator(3))
    assert equal(first, augment(batch, generator(3)))
    assert not equal(first, augment(batch, generator(4)))


def test_global_generators_are_not_touched(batch, augment):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    augment(batch, generator())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_input_is_not_modified(batch, augment):
    copy = Batch(batch.image.clone(), batch.label.clone(), batch.foreground.clone())
    for seed in range(6):
        augment(batch, generator(seed))
    assert equal(batch, copy)


def test_target_images_are_left_untouched(batch, augment):
    target, foreground = torch.rand(1, *batch.image.shape[1:]), torch.rand(1, *batch.label.shape[1:]) > 0.5
    out = augment(dataclasses.replace(batch, target=target, target_foreground=foreground), generator())
    assert out.target is target
    assert out.target_foreground is foreground


def test_each_image_depends_on_itself_alone(batch, augment):
    other = make_batch(tuple(batch.image.shape), seed=1)
    mixed = Batch(*(torch.cat([getattr(batch, n)[:1], getattr(other, n)[1:]]) for n in FIELDS))
    for seed in range(8):
        a, b = augment(batch, generator(seed)), augment(mixed, generator(seed))
        for name in FIELDS:
            assert torch.allclose(getattr(a, name)[0].float(), getattr(b, name)[0].float(), atol=1e-6)


def test_images_of_a_batch_are_changed_differently(augment):
    one = make_batch((1, 1, 24, 24))
    batch = Batch(*(getattr(one, n).repeat(8, 1, 1, 1) for n in FIELDS))
    image = augment(batch, generator()).image
    assert len({tuple(i.flatten().tolist()) for i in image}) > 4


@pytest.mark.parametrize("dense", [False, True])
def test_the_host_never_asks_for_a_value(batch, augment, monkeypatch, dense):
    class NoSynchronisation(TorchDispatchMode):
        forbidden = ("_local_scalar_dense", "item", "is_nonzero", "equal") + (("nonzero",) if dense else ())

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func.overloadpacket.__name__ not in self.forbidden, func
            return func(*args, **(kwargs or {}))

    if dense:  # what runs on CUDA, where nonzero would wait for the device too
        monkeypatch.setattr(intensity_module, "selects", lambda _: False)
    with NoSynchronisation():
        for seed in range(5):
            augment(batch, generator(seed))
        with pytest.raises(AssertionError, match="_local_scalar_dense"):
            batch.image.sum().item()


def test_identity_without_probabilities(batch):
    out = Augmentation(lambda _shape: AffineRange(), QUIET)(batch, generator())
    torch.testing.assert_close(out.image, batch.image, atol=1e-5, rtol=0)
    assert torch.equal(out.label, batch.label)
    assert torch.equal(out.foreground, batch.foreground)


def test_presets_follow_the_grid():
    assert moderate_geometry((64, 64)).flip_axes == (0, 1)
    assert moderate_geometry((64, 64, 64)).flip_axes == (0,)
    assert nnunet_geometry((64, 64, 64)).flip_axes == (0, 1, 2)
    assert [nnunet_geometry(s).rotation for s in ((64, 64), (64, 128), (64, 64, 64))] == [180.0, 15.0, 30.0]


def test_geometric_keeps_intensities(batch):
    flat = dataclasses.replace(batch, image=torch.full_like(batch.image, 0.7))
    out = augmentation("geometric")(flat, generator())
    interior = (..., *(slice(s // 2 - 2, s // 2 + 2) for s in batch.image.shape[2:]))
    torch.testing.assert_close(out.image[interior], flat.image[interior])


@pytest.mark.parametrize("name", ["nnunet", "nnunet-da5"])
def test_intensities_do_not_depend_on_autocast(batch, name):
    run = partial(augmentation(name), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(generator(2))
    assert equal(inside, run(generator(2)))
