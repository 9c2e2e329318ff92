"""docs/data.md: every example is a task, every key is listed, and the worked ones read real data."""

import re
from pathlib import Path

import pytest

from ssdg.datasets.base import Task
from ssdg.datasets.grammar import DOMAIN_KEYS, TASK_KEYS, task_from_toml

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COUNTS = {"my-chase": 28, "my-stare": 20, "my-acdc": 50, "my-training": 50, "my-test": 51}


def rows(heading: str) -> dict[str, str]:
    """Key -> example of the table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", section, re.MULTILINE))


def task_of(text: str, folder: Path) -> Task:
    file = folder / "task.toml"
    file.write_text(text, encoding="utf-8")
    return task_from_toml(file)


def test_every_key_is_in_its_table() -> None:
    assert set(rows("Keys of a task")) == set(TASK_KEYS)
    assert set(rows("Keys of a data set")) == set(DOMAIN_KEYS)


@pytest.mark.parametrize("key", DOMAIN_KEYS)
def test_the_example_of_a_key_is_valid(tmp_path: Path, key: str) -> None:
    example = rows("Keys of a data set")[key]
    volumes = key in ("orientation", "axes", "same_grid", "skull_stripped")
    shape = "[16, 16, 16]" if volumes else "[256, 256]"
    start = {"images": "", "decathlon": "", "nnunet": "", "split": 'nnunet = "D1"\n'}
    start["channels"] = 'images = "{case}_{channel}.png"\n'
    images = start.get(key, 'images = "{group}/{case}.png"\n')
    head = f'name = "x"\nndim = {3 if volumes else 2}\nchannels = 3\nclasses = ["background", "a"]\nshape = {shape}\n'
    assert example.startswith(f"{key} = ")
    task = task_of(f"{head}[domain.d]\n{images}{example}\n", tmp_path)
    assert list(task.sources) == ["d"]


def test_the_examples_of_a_tasks_keys_are_a_task(tmp_path: Path) -> None:
    examples = rows("Keys of a task")
    domains = [examples.pop(role).replace("NAME", role) for role in ("source", "target", "domain")]
    text = "\n".join([*examples.values(), *(f'{domain}\nimages = "{{case}}.png"' for domain in domains)])
    task = task_of(text, tmp_path)
    assert list(task.targets) == ["target", "domain"]


def test_the_worked_examples_are_tasks(tmp_path: Path) -> None:
    names = [
        name for block in BLOCKS for task in [task_of(block, tmp_path)] for name in {**task.sources, **task.targets}
    ]
    assert names == list(COUNTS)


@pytest.mark.real_data
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split('"')[1])
def test_the_worked_examples_read_the_published_files(real_data: Path, tmp_path: Path, block: str) -> None:
    task = task_of(block, tmp_path)
    for name in {**task.sources, **task.targets}:
        domain = task.domain(name)(real_data)
        assert (len(domain.cases), domain.missing) == (COUNTS[name], ())
        assert all(case.label is not None for case in domain.cases)
