"""Tables as LaTeX go through pdflatex as they are, and Table 1 fits a line of 6.5 inches."""

# ruff: noqa: RUF001 - letters that look like others are what is escaped

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.exported import Export
from ssdg.benchmark.scoring.metrics import METRICS
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.suite_file import list_suites, load_suite, parse_suite
from ssdg.benchmark.tables.build import build_table
from ssdg.benchmark.tables.document import render
from ssdg.benchmark.tables.latex_text import escape
from ssdg.benchmark.tables.suite_table import table_document
from ssdg.datasets import TASKS
from ssdg.methods import registry

from ..stored import planned_runs, results_of, write_run

EXPORTS = Path(__file__).parents[3] / "results" / "reproduced"
PAGE = r"""\documentclass{article}
\usepackage[letterpaper,margin=1in]{geometry}
\usepackage{booktabs%s}
\begin{document}
%s
\end{document}
"""

HOSTILE = (
    r"a & b_c % d $ e # f {g} ~h ^i \textbf{j} \\ k",
    "[4pt] a row must not begin with this",
    "* nor with this",
    "α-β γ Ω Δ Α ς µ ± × ≤ ≥ – — − † ‡ § …",
    "Müller, Håkansson, Łukasz, Š, ñ, ß, Ø, é",
    "<b>|“q”|‘s’ \"t\" ``u'' --no---dash",
    "中文 and 🙂 and \x07 and\nlines",
)


@pytest.fixture(scope="module")
def pdflatex():
    """The compiler, or a skip that says what to install."""
    found = shutil.which("pdflatex")
    if found is None:
        pytest.skip("no pdflatex: install Debian's texlive-latex-recommended")
    return found


@pytest.fixture
def pages(pdflatex, tmp_path):
    """Compile a table in an article and return the log; any error, and any line that is too long, fails."""

    def compiled(latex, *packages):
        (tmp_path / "page.tex").write_text(PAGE % ("".join(f",{name}" for name in packages), latex), encoding="utf-8")
        command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        log = done.stdout.decode("utf-8", "replace")
        assert done.returncode == 0, log[-3000:]
        wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
        assert max(wide, default=0) < 1, log[-3000:]
        assert "Missing character" not in log
        assert "(1 page," in log
        assert "Float too large" not in log
        return log

    return compiled


def fill(root, suite, seeds):
    """Write runs with results of every row of a suite, for some of its seeds."""
    for index, planned in enumerate(planned_runs(replace(suite, seeds=seeds))):
        fold = planned.request.fold.index if planned.request.fold else 0
        score = 0.6 + 0.003 * (index % 97) + 0.004 * planned.request.seed
        strata = {f"{name}-{fold}": (name, (score + shift,)) for name, shift in (("normal", 0.05), ("abnormal", 0))}
        whole = {f"case-{fold}-{i}": ("all", (score,)) for i in range(2)}
        found = {c.target: strata if len(c.strata) > 1 else whole for c in planned.columns}
        write_run(root, planned.request, found)


def latex_of(root, suite, **options):
    runs, problems = scan(root)
    assert problems == []
    results = results_of(runs, suite, inventory=Inventory(registry(), TASKS))
    return render(table_document(build_table(results, **options)), "latex")


@pytest.mark.parametrize("seeds", [(), (0,), (0, 1), (0, 1, 2)], ids=["empty", "one", "partial", "complete"])
def test_table1_fits_a_page_beside_the_published_numbers(pages, tmp_path, seeds):
    suite = load_suite("table1")
    fill(tmp_path, suite, seeds)
    latex = latex_of(tmp_path, suite)
    pages(latex)
    assert (r"\textbf{" in latex) == (len(seeds) == 3)
    assert (r"\scriptsize difference" in latex) == bool(seeds)
    assert (f"({len(seeds)}/3 seeds)" in latex) == (len(seeds) in (1, 2))
    assert r"CutMix $\ddagger$ & UDA" in latex


@pytest.mark.parametrize("name", ["abdomen", "polyp"])
def test_two_directions_fit_a_page_beside_two_sources(pages, tmp_path, name):
    suite = load_suite(name)
    fill(tmp_path, suite, (0, 1))
    latex = latex_of(tmp_path, suite)
    pages(latex)
    assert r"\scriptsize difference" in latex


def test_table1_of_another_measure(pages, tmp_path):
    suite = load_suite("table1")
    fill(tmp_path, suite, (0, 1, 2))
    latex = latex_of(tmp_path, suite, metric=METRICS["sensitivity"])
    pages(latex)
    assert r"\label{tab:table1-sensitivity}" in latex


def test_a_table_wider_than_a_page_says_so(tmp_path):
    suite = load_suite("table1")
    assert "sidewaystable" not in latex_of(tmp_path, suite)
    assert "sidewaystable" in latex_of(tmp_path, suite, validation=True)


def test_table2_has_check_marks(pages, tmp_path):
    suite = load_suite("table2")
    fill(tmp_path, suite, (0, 1, 2))
    latex = latex_of(tmp_path, suite)
    pages(latex, "amssymb")
    assert r"\usepackage{booktabs,amssymb}" in latex
    marked = {line.partition(" & ")[0]: line.split(" & ")[2:5] for line in latex.splitlines() if line.startswith("R")}
    check = r"$\checkmark$"
    assert marked["RASS"] == [check, "", ""]
    assert marked["RMS + RSD"] == ["", check, check]
    assert marked["RASS + RMS + RSD (RAS4DG)"] == [check] * 3
    assert "none (w/o SSDG) & source only &  &  &  & " in latex


def test_components_in_the_other_formats(tmp_path):
    suite = load_suite("table2")
    table = build_table(results_of([], suite, inventory=Inventory(registry(), TASKS)))
    assert "| RMS + RSD                 | SSDG        |      | ✓   | ✓   |" in render(
        table_document(table), "markdown"
    )
    header, baseline, *_ = render(table_document(table), "csv").splitlines()
    assert header.endswith(",component_RASS,component_RMS,component_RSD")
    assert baseline.endswith(",false,false,false")
    assert '"components": {\n        "RASS": true,' in render(table_document(table), "json")


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ('A = "method.rss"', "did you mean 'method.rass'"),
        ('A = "method.alpha"', "true or false"),
        ("A = 1", "components is a table"),
    ],
)
def test_components_that_rows_cannot_have_are_refused(components, message):
    suite = f"""
    components = {{ {components} }}
    [[columns]]
    task = "fundus"
    source = "drive"
    target = "lesav"
    [[rows]]
    id = "ras4dg"
    method = "ras4dg"
    settings = {{ method.rass = true, method.alpha = 2.0 }}
    """
    with pytest.raises(UsageError, match=message):
        parse_suite(suite, "mine", "mine")


def test_hostile_labels_are_printed_and_not_obeyed(pages, tmp_path):
    suite = load_suite("fundus-quick")
    rows = tuple(replace(row, label=label) for row, label in zip(suite.rows, HOSTILE, strict=False))
    columns = tuple(replace(column, label=HOSTILE[index]) for index, column in enumerate(suite.columns))
    suite = replace(suite, name="a_b#c%{d}", title=HOSTILE[0] + HOSTILE[3], rows=rows, columns=columns)
    latex = latex_of(tmp_path, suite)
    assert r"\label{tab:a-b-c-d-}" in latex
    # Labels this long make lines too long, and a float calls \sloppy, which resets \hfuzz: only errors count here.
    pages(r"\tiny\let\sloppy\relax\hfuzz=99in " + latex)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("SAN-SAW", "SAN-SAW"),
        ("– −", "-- $-$"),
        ("é Š ł", "é Š ł"),
        ("e\N{COMBINING ACUTE ACCENT}", "é"),
        ("µ α Ω", r"$\mu$ $\alpha$ $\Omega$"),
        ("中 Α ą", "{[}U+4E2D] {[}U+0391] {[}U+0105]"),
        ("a\n  b\t", "a b"),
        (r"\&", r"\textbackslash{}\&"),
        ("256² CO₂", "256$^2$ CO$_2$"),
    ],
)
def test_text_is_escaped(text, expected):
    assert escape(text) == expected


def test_every_name_of_the_package_can_be_printed():
    suites = [load_suite(name) for name in list_suites()]
    suites += [Export(path.parent).suite for path in EXPORTS.glob("*/provenance.json")]
    named = [*suites, *(part for suite in suites for part in (*suite.rows, *suite.columns))]
    names = {*(TASKS), *(getattr(part, field, "") for part in named for field in ("label", "title", "note"))}
    names |= {name for task in TASKS.values() for name in (*task.classes, *task.sources, *task.targets)}
    assert len(names) > 100
    assert [name for name in names if "[U+" in escape(name).replace("{[}", "[")] == []


def test_every_character_compiles(pages):
    ranges = ((0x21, 0x7F), (0xA0, 0x250), (0x370, 0x500), (0x2000, 0x2300), (0x1E00, 0x1F00), (0x4E2D, 0x4E2E))
    characters = [chr(code) for first, end in ranges for code in range(first, end) if chr(code).isprintable()]
    pages("\\tiny " + " ".join(map(escape, characters)))
    assert sum(escape(one) == one for one in characters if not one.isascii()) > 150
