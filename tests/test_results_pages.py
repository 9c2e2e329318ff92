"""README and the pages of `results/`: every output is what its command prints today, from exports."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ssdg.benchmark.cli import main

from .test_studies import script

ROOT = Path(__file__).parents[1]
study = script("results_pages")
PLACES = [(page, place[1], place[2]) for page in study.pages() for place in study.PLACE.finditer(page.read_text())]


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BENCH_RESULTS", raising=False)


def test_the_page_across_suites_has_outputs():
    assert len([command for page, command, _ in PLACES if page == ROOT / "results" / "README.md"]) >= 5


@pytest.mark.parametrize(
    ("page", "command", "output"), PLACES, ids=[f"{page.parent.name}-{command}" for page, command, _ in PLACES]
)
def test_an_output_is_what_its_command_prints(page, command, output):
    assert output == study.block(command)


def test_the_figure_is_what_its_command_draws(tmp_path):
    page = (ROOT / "results" / "README.md").read_text()
    [command] = re.findall(r"^(bench figure robustness .*) --output results/robustness\.png$", page, re.MULTILINE)
    drawn = CliRunner().invoke(main, [*command.split()[1:], "--output", str(tmp_path / "robustness.png")])
    assert drawn.exit_code == 0, drawn.output
    new, old = (Image.open(folder / "robustness.png").convert("L") for folder in (tmp_path, ROOT / "results"))
    assert new.size == old.size
    # Another build of the font renderer moves single pixels.
    assert np.abs(np.asarray(new, float) - np.asarray(old, float)).mean() < 1


def test_the_first_table_of_the_readme_has_at_most_eight_rows():
    [output] = [output for page, _, output in PLACES if page == ROOT / "README.md"]
    assert 4 <= output.count("\n|") <= 10, "eight rows under the heading"


def test_an_output_that_is_not_up_to_date_is_replaced_and_a_failing_command_is_an_error():
    page = "a\n<!-- bench table results/reproduced/atlases-windows -->\nold\n<!-- end -->\nb\n"
    filled = study.filled(page)
    assert filled.startswith("a\n<!-- bench table results/reproduced/atlases-windows -->\n```bash\nbench table ")
    assert "| w/o SSDG | source only | 80.73       |" in filled
    assert filled.endswith("<!-- end -->\nb\n")
    assert study.filled(filled) == filled
    with pytest.raises(RuntimeError, match="exit code 2"):
        study.filled(page.replace("atlases-windows", "nothing"))
