"""Networks and encoder weights on the command line."""

import json

import torch

from ssdg.benchmark.storage.results_reader import read_run
from ssdg.methods.networks import NETWORKS

from ...conftest import TINY
from ...suites import suite_file

RUN = ("run", "--method", "erm", "--target", "phantom2d-b", *TINY)


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert result.output.count("\n") == 1, result.output
    for word in words:
        assert word in result.output


def test_networks_are_listed(bench):
    assert {row["id"] for row in json.loads(bench("list", "networks", "--json").output)} == set(NETWORKS)
    lines = bench("list", "networks").output.splitlines()
    assert [line.split()[0] for line in lines] == list(NETWORKS)
    assert all("2D 3D" in line and "init_filters: " in line for line in lines)


def test_the_contract_runs_on_a_network(bench, tmp_path):
    plugin = tmp_path / "picky.py"
    plugin.write_text(
        "from ssdg.methods.base import Method\n"
        "class Plain(Method):\n    ndims = frozenset({2})\n"
        "class Picky(Plain):\n    networks = frozenset({'dynunet'})\n"
    )
    own = ("--plugin", str(plugin))
    result = bench("check", "picky", "--network", "dynunet", "--device", "cpu", *own)
    assert result.exit_code == 0, result.output
    assert "23 of 23 checks passed" in result.output
    refused(bench("check", "picky", *own), "works on network.name=dynunet only, not on 'segresnet'")
    refused(bench("check", "plain", "--network", "dynnet", *own), "did you mean 'dynunet'?")
    refused(bench("check", "plain", "--device", "cuda:7", *own), "no such usable GPU", "use --device cpu")
    refused(bench("check", "plain", "--device", "tpu", *own), "unknown device 'tpu': use auto, cpu, cuda")


def test_unknown_networks_are_refused_before_anything_starts(bench, tmp_path):
    for verb in (RUN, ("sweep", "demo"), ("table", "demo")):
        refused(
            bench(*verb, "--set=network.name=segresnt"), "unknown network 'segresnt'", "did you mean 'segresnet'?"
        )
    rows = ["erm", {"id": "other", "method": "erm", "settings": {"network.name": "dynnet"}}]
    suite = suite_file(tmp_path / "mine.toml", rows)
    assert "unknown network 'dynnet'" in bench("sweep", str(suite)).output
    suite = suite_file(tmp_path / "mine.toml", settings={"network.weights": str(tmp_path / "none.pt")})
    result = bench("sweep", str(suite))
    assert result.exit_code == 2
    assert "none.pt cannot be read: No such file" in result.output
    assert not (bench.results / "runs").exists()


def test_a_run_starts_from_the_weights_of_another_and_keeps_its_own(bench, tmp_path):
    assert bench(*RUN, "--set=network.name=dynunet").exit_code == 0
    first = bench.run_path()
    file = tmp_path / "start.pt"
    file.write_bytes((first / "checkpoints" / "final.pt").read_bytes())
    refused(
        bench(*RUN, f"--set=network.weights={file}"), "does not fit the encoder of SegResNet", "is missing", "; …"
    )
    refused(bench(*RUN, f"--set=network.weights={tmp_path}/none.pt"), "none.pt cannot be read: No such file")
    assert bench.run_path() == first  # neither left a folder
    started = (*RUN, "--set=network.name=dynunet", f"--set=network.weights={file}")
    assert bench(*started).exit_code == 0
    [second] = set(first.parent.glob("s*")) - {first}
    assert "already done" in bench(*started).output
    weights = [torch.load(run / "checkpoints" / "final.pt", weights_only=True)["weights"] for run in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert read_run(second).spec.network_weights
    # The same content elsewhere is the same run; other content under the same name is another.
    moved = file.rename(tmp_path / "moved.pt")
    elsewhere = (*RUN, "--set=network.name=dynunet", f"--set=network.weights={moved}")
    assert "already done" in bench(*elsewhere).output
    moved.unlink()
    images = str(bench.data / "phantom2d" / "b" / "image")
    result = bench("predict", str(second), "--input", images, "--output", str(tmp_path / "predictions"))
    assert result.exit_code == 0, result.output
