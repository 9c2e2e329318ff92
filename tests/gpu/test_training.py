"""What only a GPU shows: every method trains there, nothing waits, its own kernels are right, and runs go on."""

import json
import re
import signal
import warnings
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssdg.benchmark.training.build import ARITHMETIC, find_device
from ssdg.benchmark.training.contract import check_method
from ssdg.benchmark.training.inference import autocast
from ssdg.methods import load_method, registry
from ssdg.methods.losses import soft_dice
from ssdg.methods.networks import group_norm as kernels
from ssdg.methods.networks.base import CHANNELS_LAST
from ssdg.methods.networks.group_norm import LARGE, GroupNorm, group_norm
from ssdg.methods.networks.pointwise import PointwiseConv3d
from ssdg.methods.networks.segresnet import SegResNet

from ..benchmark.training.test_synchronisation import SUBJECTS, make_step, take
from ..conftest import TINY
from ..methods.networks.test_group_norm import in_double_precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU, or BENCH_TEST_GPU is not set: make test-gpu"),
]

LONG = (*TINY, "--set=training.epochs=150")

WITH_EVERY_MAP_LARGE = ("erm", "csdg", "cutmix", "feddg", "slaug", "ras4dg")
"""Several passes, a teacher, gradients inside a step: methods whose contract also holds with all maps large."""


@pytest.fixture(scope="module")
def gpu():
    return find_device("cuda")


@contextmanager
def cuda_refuses_to_wait():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("name", "ndim"), SUBJECTS)
@pytest.mark.parametrize("windowed", [False, True])
def test_no_step_waits_for_the_gpu(name, ndim, windowed, gpu):
    method = load_method(name)
    if windowed and not method.windows:
        pytest.skip("needs whole images")
    take(make_step(method, name, ndim, gpu, windowed), cuda_refuses_to_wait())


@pytest.mark.parametrize(
    ("name", "large"),
    [*((name, LARGE) for name in registry()), *((name, 1) for name in WITH_EVERY_MAP_LARGE)],
)
def test_every_method_keeps_the_contract(name, large, gpu, monkeypatch):
    monkeypatch.setattr(kernels, "LARGE", large)
    results = check_method(load_method(name), device=gpu)
    assert [f"{result.name}: {result.message}" for result in results if not result.passed] == []


@pytest.mark.parametrize("shape", [(2, 16, 1024, 512), (2, 32, 64, 64, 64)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_large_maps_are_normalised_as_in_double_precision(shape, kind, gpu):
    rng = torch.Generator(gpu).manual_seed(0)
    layer = GroupNorm(8, shape[1]).to(gpu)
    for parameter in layer.parameters():
        parameter.data = torch.randn(shape[1], generator=rng, device=gpu)
    maps, upstream = (
        torch.randn(shape, generator=rng, device=gpu).to(kind).contiguous(memory_format=CHANNELS_LAST[len(shape)])
        for _ in range(2)
    )
    maps = (3 + maps).requires_grad_()
    assert maps[0].numel() >= LARGE * 8
    with autocast(gpu, "auto"):
        output = layer(maps)
    assert output.dtype == kind, "its own type, where autocast's would be float32"
    assert output.is_contiguous(memory_format=CHANNELS_LAST[len(shape)])
    for found, wanted in in_double_precision(layer, maps, output, upstream):
        # Squares of bfloat16 maps are summed in float32 around zero, ten times the variance here.
        rounding = 4e-3 if found.dtype != torch.float32 else 1e-5 if kind == torch.float32 else 1e-4
        assert (found.double() - wanted).norm() <= rounding * wanted.norm()
    assert torch.relu_(output) is output, "a rectifier may work in place"


def test_convolutions_of_one_voxel_are_products(gpu):
    layer = SegResNet(3, 1, 4, 8).to(gpu).conv_final[-1].conv
    assert isinstance(layer, PointwiseConv3d)
    maps = torch.randn((2, 8, 16, 24, 32), device=gpu).contiguous(memory_format=torch.channels_last_3d)
    found = layer(maps)
    wanted = nn.Conv3d.forward(layer, maps)
    torch.testing.assert_close(found, wanted)
    for ours, theirs in zip(
        *(torch.autograd.grad(logits.square().mean(), (layer.weight, layer.bias)) for logits in (found, wanted)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("ndim", "side", "filters"), [(2, 512, 32), (3, 96, 16)])
def test_bfloat16_learns_what_float32_learns_at_full_size(ndim, side, filters, gpu, monkeypatch):
    """The loss falls alike over some steps on large maps, where the network has kernels of its own."""
    calls = []
    monkeypatch.setattr(kernels, "group_norm", lambda *given: calls.append(given) or group_norm(*given))
    rng = torch.Generator().manual_seed(0)
    label = (torch.rand((1, 1, *[side // 8] * ndim), generator=rng) < 0.2).float()
    label = F.interpolate(label, scale_factor=8.0).to(gpu)
    image = label + 0.1 * torch.randn(label.shape, generator=rng).to(gpu)
    losses = {}
    for precision in ("auto", "fp32"):
        torch.manual_seed(0)
        network = SegResNet(ndim, 1, 2, filters).to(gpu, memory_format=CHANNELS_LAST[ndim + 2])
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        maps = image.contiguous(memory_format=CHANNELS_LAST[ndim + 2])
        for _ in range(30):
            optimizer.zero_grad()
            with autocast(gpu, precision):
                loss = soft_dice(network(maps).logits, label.long())
            loss.backward()
            optimizer.step()
        losses[precision] = loss.item()
    assert calls
    assert losses["fp32"] < 0.25
    assert losses["auto"] == pytest.approx(losses["fp32"], abs=0.05)


def test_an_interrupted_run_goes_on_and_its_folder_names_the_gpu(bench):
    command = ("run", "--method", "ras4dg", "--target", "phantom2d-b", *LONG)
    started = bench.start(*command)
    started.until(lambda: re.search(r"epoch +\d", started.output()), "an epoch")
    started.send_signal(signal.SIGINT)
    started.finish(expected=130)
    run = bench.run_path("ras4dg")
    before = (run / "history.csv").read_text().splitlines()
    bench.start(*command).finish()
    after = (run / "history.csv").read_text().splitlines()
    assert 1 < len(before) < len(after) == 151
    assert after[: len(before)] == before, "with the seconds that each epoch took"
    environment = json.loads((run / "environment.json").read_text())
    assert environment["device"] == f"cuda ({torch.cuda.get_device_name()})"
    assert environment["arithmetic"] == ARITHMETIC
    assert environment["threads"] == 0
    [evaluation] = run.glob("evaluations/phantom2d-b-*/evaluation.json")
    assert json.loads(evaluation.read_text())["trained_on"] == "cuda in bf16"
