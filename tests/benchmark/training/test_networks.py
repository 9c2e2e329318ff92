"""Every method on every network, and the encoder's weights from a file."""

import copy
from dataclasses import replace

import pytest
import torch

from ssdg.benchmark.digests import to_json
from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.settings import spec_from_json, weights_digest
from ssdg.benchmark.spec import NetworkConfig, RunRequest, RunSpec
from ssdg.benchmark.training.build import build_method, network_class
from ssdg.benchmark.training.contract import check_method, run_check
from ssdg.benchmark.training.contract_fixture import MethodUnderTest
from ssdg.benchmark.training.encoder_weights import check_weights, load_weights
from ssdg.datasets.base import Task
from ssdg.methods import METHODS, load_method
from ssdg.methods.base import Method
from ssdg.methods.networks import DEFAULT, NETWORKS, load_network

CHECKS = ("every network weight moves", "predict on a single image", "domains apart")
"""Of the contract, for every pair; the networks' own behaviour is checked in full with the plain method."""

VOLUMES = ("erm", "freesdg", "sansaw")
"""On FlexibleUNet in 3D, whose smallest volume takes 64 times that of others."""

PAIRS = [
    (network, name, ndim)
    for network in NETWORKS
    if network != DEFAULT
    for name, entry in METHODS.items()
    for ndim in entry.ndims
    if (network, ndim) != ("flexibleunet", 3) or name in VOLUMES
    if network in (load_method(name).networks or NETWORKS)
]


@pytest.mark.parametrize(("network", "name", "ndim"), PAIRS)
def test_every_method_works_on_every_network(network, name, ndim):
    checks = CHECKS[:1] if (network, ndim) == ("flexibleunet", 3) else CHECKS
    results = [run_check(check, MethodUnderTest(load_method(name), ndim, network=network)) for check in checks]
    assert [result.message for result in results if not result.passed] == []


@pytest.mark.parametrize("network", [network for network in NETWORKS if network != DEFAULT])
def test_the_plain_method_keeps_the_whole_contract_on_every_network(network):
    assert [r.message for r in check_method(Method, [2], network) if not r.passed] == []


@pytest.mark.parametrize("name", ["cutmix", "dsa"])
def test_batch_normalisation_would_mix_the_domains_of_methods_that_are_not_for_it(name):
    method = load_method(name)
    result = run_check("domains apart", MethodUnderTest(method, 2, network="flexibleunet"))
    assert "depends on the target images" in result.message
    with pytest.raises(UsageError, match=rf"{name!r} works on network\.name=dynunet, segresnet only"):
        network_class("flexibleunet", method, name, 2)


class Picky(Method):
    networks = frozenset({"segresnet"})


def test_a_method_may_be_for_some_networks_alone():
    assert network_class("segresnet", Picky, "picky", 2) is load_network("segresnet")
    with pytest.raises(UsageError, match=r"'picky' works on network\.name=segresnet only, not on 'dynunet'"):
        network_class("dynunet", Picky, "picky", 2)
    with pytest.raises(UsageError, match="Picky"):
        check_method(Picky, network="dynunet")


TASK = Task("toy", 2, 3, ("background", "disc"), (32, 32), sources={}, targets={})


def spec(cls=Method, method="erm", **network):
    config = to_json(cls.Config())
    request = RunRequest(task="toy", source="s", method=method, network=NetworkConfig(init_filters=8, **network))
    return RunSpec(
        request=request,
        method_version=1,
        method_config=config,
        method_changed=(),
        source_manifest="a" * 12,
        split="b" * 12,
        network_weights=weights_digest(request.network.weights),
    )


def build(of, cls=Method, **options):
    return build_method(cls, of, TASK, torch.device("cpu"), **options)


def encoder(network):
    return {k: v for k, v in network.state_dict().items() if k.split(".")[0] in network.encoder_parts}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def trained(name, seed=9, channels=3, filters=8):
    torch.manual_seed(seed)
    network = load_network(name)(2, channels, 2, filters)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value))
    return network


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("segresnet", form) for form in ("final weights", "network", "parallel", "encoder")),
        ("dynunet", "final weights"),
        ("flexibleunet", "encoder"),
    ],
)
def test_the_encoder_starts_from_a_file_and_nothing_else_does(tmp_path, name, form):
    source, path = trained(name), str(tmp_path / "weights.pt")
    own = source.state_dict()
    forms = {
        "final weights": {"identity": {"train_id": "x"}, "weights": Method(source).state_dict()},
        "network": own,
        "parallel": {"state_dict": {f"module.{k}": v for k, v in own.items()}},
        "encoder": {k.removeprefix("encoder."): v for k, v in encoder(source).items()},
    }
    torch.save(forms[form], path)
    started, random = build(spec(name=name, weights=path)).network, build(spec(name=name)).network
    assert equal(encoder(started), encoder(source))
    assert not equal(encoder(random), encoder(source))
    rest = {k: v for k, v in started.state_dict().items() if k not in encoder(started)}
    assert rest
    assert equal(rest, {k: random.state_dict()[k] for k in rest})


def test_files_of_efficientnet_pytorch_are_understood(tmp_path):
    source, path = trained("flexibleunet"), str(tmp_path / "b0.pth")
    # Theirs number all blocks in one row, have a classifier, and no counters of batches in old files.
    stacks = source.encoder._blocks.named_children()
    blocks = [f"_blocks.{stack}.{block}." for stack, inside in stacks for block, _ in inside.named_children()]
    state = {"_fc.weight": torch.zeros(3, 3), "_conv_head.weight": torch.zeros(1), "_bn1.weight": torch.zeros(1)}
    for name, value in source.encoder.state_dict().items():
        prefix = next((p for p in blocks if name.startswith(p)), "")
        if not name.endswith("num_batches_tracked"):
            state[f"_blocks.{blocks.index(prefix)}.{name.removeprefix(prefix)}" if prefix else name] = value
    torch.save(state, path)
    network = trained("flexibleunet", seed=3)
    load_weights(network, path)
    floats = {k: v for k, v in encoder(source).items() if v.is_floating_point()}
    assert equal({k: network.state_dict()[k] for k in floats}, floats)


def test_the_mean_teacher_starts_from_the_same_weights(tmp_path):
    source, path = trained("segresnet"), str(tmp_path / "weights.pt")
    torch.save(source.state_dict(), path)
    cls = load_method("cutmix")
    method = build(spec(cls, "cutmix", weights=path), cls)
    assert equal(encoder(method.teacher), encoder(source))


def test_a_trained_run_does_not_need_the_file_any_more(tmp_path):
    source, path = trained("segresnet"), tmp_path / "weights.pt"
    torch.save(source.state_dict(), path)
    of = spec(weights=str(path))
    path.unlink()
    assert isinstance(build(of, trained=True), Method)
    with pytest.raises(UsageError, match="No such file"):
        build(of)


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (
            lambda: trained("segresnet", channels=1).state_dict(),
            ["1 layer", r"convInit.conv.weight is \(8, 1, 3, 3\)"],
        ),
        (
            lambda: trained("dynunet").state_dict(),
            ["convInit.conv.weight is missing", "; …"],
        ),
        (
            lambda: {"convInit.conv.weight": torch.zeros(8, 3, 3, 3)},
            [r"\(\d\d layers\)", "is missing; .* is missing"],
        ),
        (
            lambda: {**trained("segresnet").state_dict(), "down_layers.4.x": torch.zeros(1)},
            ["down_layers.4.x is not in"],
        ),
        (lambda: [1, 2], ["has no state dict"]),
        (lambda: {"epoch": 3}, ["has no state dict"]),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_layer(tmp_path, offered, words):
    path = str(tmp_path / "weights.pt")
    torch.save(offered(), path)
    network = trained("segresnet", seed=1)
    before = copy.deepcopy(network.state_dict())
    for word in words:
        with pytest.raises(UsageError, match=word):
            load_weights(network, path)
    assert equal(before, network.state_dict())
    with torch.device("meta"), pytest.raises(UsageError):
        check_weights(load_network("segresnet")(2, 3, 2, 8), path)


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        weights_digest(str(path))
    path.write_text("not weights")
    with pytest.raises(UsageError, match="is no file of weights"):
        load_weights(trained("segresnet"), str(path))


def test_the_content_of_the_file_is_part_of_the_identity_and_its_path_is_not(tmp_path):
    paths = [tmp_path / name for name in ("a.pt", "b.pt", "c.pt")]
    for path, content in zip(paths, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(content)
    first, second, other = (spec(weights=str(path)) for path in paths)
    assert first.train_id == second.train_id != other.train_id
    assert spec().train_id not in (first.train_id, other.train_id)
    assert replace(first, network_weights="").train_id == spec().train_id
    assert spec_from_json(to_json(first)).train_id == first.train_id
    older = {name: value for name, value in to_json(spec()).items() if name != "network_weights"}
    assert spec_from_json(older).train_id == spec().train_id
