"""A domain from the text of its table."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from ssdg.datasets.base import DataError, Domain
from ssdg.datasets.grammar import task_from_toml

HEAD = """
name = "mine"
ndim = {ndim}
channels = {channels}
classes = ["background", "organ", "lesion"]
shape = {shape}
[target.d]
"""

Load: TypeAlias = Callable[..., Domain]
Error: TypeAlias = Callable[..., str]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A domain of a table's text, loaded from the test's folder."""

    def load(table: str, ndim: int = 2, channels: int = 1, role: str = "target") -> Domain:
        text = HEAD.format(ndim=ndim, channels=channels, shape=[16] * ndim).replace("target", role)
        other = {"source": "target", "target": "source"}.get(role)  # a domain is both
        unused = f'[{other}.unused]\nimages = "x/{{case}}.png"\n' if other else ""
        (tmp_path / "task.toml").write_text(f"{text}{table}\n{unused}")
        return task_from_toml(tmp_path / "task.toml").domain("d")(tmp_path)

    return load


@pytest.fixture
def error(load: Load) -> Error:
    def error(*arguments: object, **options: object) -> str:
        with pytest.raises(DataError) as caught:
            load(*arguments, **options)
        return str(caught.value)

    return error
