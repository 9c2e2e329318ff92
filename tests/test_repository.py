"""The files that others read: citation, workflow, hooks, containers, the picture in CONTRIBUTING."""

import re
import tomllib
from pathlib import Path

import pytest

from ssdg.benchmark.launching.cluster import Cluster, read_cluster

from .test_layering import ORDER

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read(name):
    return (ROOT / name).read_text()


def test_the_citation_has_what_its_format_requires():
    lines = read("CITATION.cff").splitlines()
    assert not [line for line in lines if "\t" in line or line != line.rstrip()]
    top = dict(re.findall(r"^([a-z-]+):[ ]*(.*)$", "\n".join(lines), re.MULTILINE))
    assert {"cff-version", "message", "title", "authors"} <= set(top), "required by CFF 1.2.0"
    optional = {"abstract", "type", "license", "keywords", "references", "repository-code", "url", "doi"}
    assert set(top) <= {"cff-version", "message", "title", "authors", *optional}
    assert top["cff-version"] == "1.2.0"
    assert top["license"] == PROJECT["project"]["license"]
    assert f'  - name: "{PROJECT["project"]["authors"][0]["name"]}"' in lines
    _, *references = "\n".join(lines).partition("\nreferences:")[2].split("\n  - ")
    [paper] = [reference for reference in references if "arXiv:2409.04768" in reference]
    assert set(re.findall(r"^(?:    )?([a-z-]+):", paper, re.MULTILINE)) >= {"type", "title", "authors", "year"}
    people = re.findall(r"^      - family-names: (\w+)\n        given-names: \w+$", paper, re.MULTILINE)
    authors = re.search(r"^Qiao, .+: Medical Image", read("methods/ras4dg.py"), re.MULTILINE)
    assert authors is not None
    assert people == re.findall(r"\w+", authors[0].partition(":")[0])


@pytest.mark.parametrize("recipe", ["Dockerfile", "containers/bench.def"])
def test_a_container_copies_what_exists_and_installs_the_pinned_packages(recipe):
    text = read(recipe)
    lines = re.findall(r"^(?:COPY|   ) ((?:[\w.]+ )+)/opt/source/", text, re.MULTILINE)
    copied = [source for line in lines for source in line.split()]
    assert {"benchmark", "methods", "datasets", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"} == set(
        copied
    )
    assert all((ROOT / source).exists() for source in copied)
    installs = re.findall(r"pip install (.*)", text)
    assert len(installs) == 2
    assert all("-c /opt/source/constraints.txt" in line for line in installs), "versions come from constraints.txt"
    ignored = read(".dockerignore").splitlines()
    assert "*" in ignored
    assert {f"!{source}" for source in copied} == {line for line in ignored if line.startswith("!")}


def test_torch_has_one_version():
    [pinned] = re.findall(r"^torch==(\S+)$", read("constraints.txt"), re.MULTILINE)
    assert re.findall(r"torch==([\d.]+)", read("Makefile")) == [pinned]


def test_the_profile_for_containers_is_one():
    cluster = read_cluster(ROOT / "containers" / "slurm.toml", {})
    assert isinstance(cluster, Cluster)
    assert cluster.python is not None
    # The Python of the recipe, in the image of the recipe.
    assert cluster.python.endswith("bench.sif /opt/bench/bin/python")
    assert "/opt/bench" in read("containers/bench.def")


def test_the_workflow_runs_the_steps_of_ci_on_each_supported_python():
    text = read(".github/workflows/ci.yml")
    steps = re.findall(r"^make \S+$", read(".ci/run"), re.MULTILINE)
    assert len(steps) == 6
    assert re.findall(r"^      - run: (make \S+)$", text.partition("\n  coverage:")[0], re.MULTILINE) == steps
    [versions] = re.findall(r"python: (\[.*\])", text)
    assert PROJECT["project"]["requires-python"] == ">=" + min(tomllib.loads(f"versions = {versions}")["versions"])


def test_the_workflow_installs_the_minima_of_the_packages_that_decide_numbers():
    minima = dict(dependency.split(">=") for dependency in PROJECT["project"]["dependencies"])
    pinned = dict(re.findall(r"'(torch|monai)==([\d.]+?)(?:\.\*)?'", read(".github/workflows/ci.yml")))
    assert pinned == {name: minima[name] for name in ("torch", "monai")}


def test_hooks_run_the_tools_of_lint():
    hooks, [lint] = (
        read(".pre-commit-config.yaml"),
        re.findall(r"^lint:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE),
    )
    for tool in re.findall(r"\$\(BIN\)/(\w+(?: check| format)?)", lint):
        assert f"entry: .venv/bin/{tool}" in hooks
    assert hooks.count("language: system") == hooks.count("- id: "), "no hook downloads anything"


def test_the_picture_of_the_packages_is_their_order():
    picture = read("CONTRIBUTING.md").split("```")[1]
    named = re.findall(r"\b(" + "|".join(filter(None, ORDER)) + r")/", picture)
    assert [package for package in reversed(ORDER) if package] == named
