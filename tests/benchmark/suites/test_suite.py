"""Suites: what the packaged ones ask for, and what a file may not say."""

import subprocess
import sys
from dataclasses import replace

import pytest

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.outcomes.stored_suite import check_column
from ssdg.benchmark.spec import Fold
from ssdg.benchmark.suites.inventory import Inventory
from ssdg.benchmark.suites.paper import PublishedScore, load_published
from ssdg.benchmark.suites.suite import Column, Filters, Row, Suite
from ssdg.benchmark.suites.suite_file import list_suites, load_suite, parse_suite
from ssdg.datasets import TASKS
from ssdg.methods import registry

from ..stored import INVENTORY, planned_runs

MINIMAL = """
[[columns]]
task = "fundus"
source = "drive"
target = "lesav"

[[rows]]
id = "erm"
method = "erm"
"""


def two_targets(*rows, **changes):
    columns = tuple(Column(task="fundus", source="drive", target=t, label=t) for t in ("iostar", "lesav"))
    return Suite(name="mine", title="Mine", columns=columns, rows=rows, **{"seeds": (0, 1), **changes})


def plan(suite, **choice):
    return list(suite.plan(Filters(**choice), INVENTORY).runs)


def test_the_packaged_suites_are_listed_and_load():
    assert list_suites() == [
        "abdomen",
        "ablation-fundus",
        "ablation-quick",
        "atlases-quick",
        "backbones",
        "cardiac-quick",
        "cardiac-seq",
        "demo",
        "disc-quick",
        "fundus-quick",
        "lesav-quick",
        "polyp",
        "scales",
        "table1",
        "table2",
    ]
    assert [load_suite(name).name for name in list_suites()] == list_suites()


def test_table1_has_the_rows_of_the_paper_in_its_order():
    suite = load_suite("table1")
    published = list(dict.fromkeys(row for row, _, _ in load_published("table1").scores))
    assert [row.id for row in suite.rows] == published
    assert len(suite.rows) == 12
    assert suite.protocol == "paper"
    printed = {(column.target, group) for column in suite.columns for group in column.strata}
    assert printed == {(target, group) for _, target, group in load_published("table1").scores}


def test_table2_has_the_eight_combinations():
    suite = load_suite("table2")
    assert {row.id for row in suite.rows} == load_published("table2").rows
    parts = [
        tuple(row.settings.get(f"method.{part}", False) for part in ("rass", "rms", "rsd")) for row in suite.rows
    ]
    assert len(set(parts)) == 8
    assert suite.rows[0].method == "erm"  # all off is the source-only row


def test_the_quick_ablation_shares_the_runs_of_fundus_quick():
    ablation, quick = load_suite("ablation-quick"), load_suite("fundus-quick")
    assert [row.id for row in ablation.rows] == [row.id for row in load_suite("table2").rows]
    assert (ablation.protocol, ablation.settings, ablation.columns) == (quick.protocol, quick.settings, quick.columns)


@pytest.mark.parametrize("name", ["abdomen", "cardiac-seq", "polyp"])
def test_both_directions_of_a_task_beside_the_numbers_of_several_papers(name):
    suite, published = load_suite(name), load_published(name)
    assert (suite.protocol, suite.published) == ("clean", name)
    assert published.rows <= {row.id for row in suite.rows}
    assert {(target, group) for _, target, group in published.scores} == {(c.target, "all") for c in suite.columns}
    first, second = suite.columns
    assert (first.source, first.target) == (second.target, second.source)
    for column in suite.columns:
        check_column(column, TASKS[column.task])
    runnable = {row.id for row in suite.rows if row.method in registry()}
    assert {planned.row.id for planned in planned_runs(suite)} == runnable
    assert {"erm", "randconv", "csdg", "slaug", "ras4dg"} <= runnable
    assert "slaug_s2s2" in published.rows - runnable
    assert "no failed replication" in suite.note


def test_two_sources_of_one_row_are_both_kept_in_order():
    scores = load_published("abdomen").scores
    assert scores["slaug", "chaos", "all"] == (
        PublishedScore(88.55, None, "S2S2"),
        PublishedScore(88.63, None, "SLAug README"),
    )
    assert scores["csdg", "btcv", "all"] == (PublishedScore(80.40, None, "S2S2"),)
    assert scores["slaug", "btcv", "all"][0].mean == 81.70  # not the other direction's
    assert load_published("table1").scores["ras4dg", "lesav", "all"] == (PublishedScore(72.88, 0.07),)


@pytest.mark.parametrize("name", ["table1", "table2", "abdomen", "cardiac-seq", "polyp"])
def test_a_cell_has_each_source_once_and_each_source_a_citation(name):
    table = load_published(name)
    sources = [[score.source for score in scores] for scores in table.scores.values()]
    assert all(len(of_cell) == len(set(of_cell)) for of_cell in sources)
    assert set(table.citations) == {source for of_cell in sources for source in of_cell if source}
    assert bool(table.citations) != name.startswith("table")


def test_the_numbers_of_both_tasks_have_the_means_that_s2s2_prints():
    parts = [load_published(name).scores for name in ("abdomen", "cardiac-seq")]
    printed = {"cutout": 78.85, "rsc": 75.82, "mixstyle": 75.83, "advbias": 77.73, "randconv": 82.05, "csdg": 84.68}
    printed |= {"slaug": 85.96, "slaug_s2s2": 86.11}
    for row, mean in printed.items():
        scores = [of_cell[0].mean for part in parts for key, of_cell in part.items() if key[0] == row]
        assert len(scores) == 4
        assert sum(scores) / 4 == pytest.approx(mean, abs=0.0051)


def test_the_demo_is_small():
    suite = load_suite("demo")
    sections = suite.sections()
    steps = -(-12 // sections["training"].batch_size) * sections["training"].epochs
    assert 200 <= steps <= 240
    assert sections["network"].init_filters == 8
    assert suite.protocol == "clean"
    assert len(suite.seeds) == 3  # the least with which rows are told apart


def test_one_run_scores_every_target_of_its_source():
    planned = plan(two_targets(Row(id="erm", method="erm")))
    assert [p.request.seed for p in planned] == [0, 1]
    assert all([c.target for c in p.columns] == ["iostar", "lesav"] for p in planned)
    assert all(p.request.target is None and p.request.source == "drive" for p in planned)


def test_methods_that_see_the_target_train_once_a_target():
    planned = plan(two_targets(Row(id="cutmix", method="cutmix", access="uda")))
    assert [(p.request.seed, p.request.target, len(p.columns)) for p in planned] == [
        (0, "iostar", 1),
        (1, "iostar", 1),
        (0, "lesav", 1),
        (1, "lesav", 1),
    ]


def test_intra_rows_train_inside_the_target_once_a_fold():
    planned = plan(two_targets(Row(id="intra", method="erm", access="intra", folds=3), seeds=(4,)))
    assert [(p.request.source, p.request.fold) for p in planned] == [
        (target, Fold(index, 3)) for target in ("iostar", "lesav") for index in range(3)
    ]
    assert {p.request.target for p in planned} == {None}


def test_settings_are_laid_over_each_other_in_order():
    row = Row(id="r", method="ras4dg", settings={"training.epochs": 20, "method.alpha": 2.0})
    suite = two_targets(row, protocol="paper", settings={"training.epochs": 10, "training.batch_size": 4})
    request = plan(suite)[0].request
    assert (request.training.epochs, request.training.batch_size) == (20, 4)
    assert request.training.selection == "source-val"  # the protocol's
    assert request.method_settings == {"alpha": 2.0}
    overrides = {"training.epochs": "5", "training.batch_size": "8", "method.alpha": "1"}
    request = plan(suite, overrides=overrides, protocol="clean")[0].request
    assert (request.training.epochs, request.training.batch_size, request.training.selection) == (5, 8, "last")
    assert request.method_settings == {"alpha": "1"}
    assert suite.narrowed(Filters(overrides=overrides)).sections()["training"].batch_size == 8


def test_rows_and_columns_that_cannot_run_ask_for_nothing():
    suite = load_suite("table1")
    planned = plan(suite)
    assert {p.row.id for p in planned} == {"intra", "cutmix", "feddg", "erm", "ras4dg"}
    feddg = [p for p in planned if p.row.id == "feddg"]
    assert {p.request.task for p in feddg} == {"fundus"}
    standings = [suite.availability(p, suite.columns[0], INVENTORY) for p in suite.rows[2:5]]
    assert standings == ["unavailable", "not-applicable", "planned"]


def test_methods_that_make_images_from_labels_are_not_applicable_to_photographs():
    inventory = Inventory(registry(), TASKS)
    suite = two_targets(Row(id="synthseg", method="synthseg"))
    columns = (*suite.columns, Column(task="cardiac", source="acdc", target="mscmr-lge", label="MSCMR"))
    columns += (Column(task="prostate", source="A", target="B", label="B"),)
    standings = [suite.availability(suite.rows[0], column, inventory) for column in columns]
    assert standings == ["not-applicable", "not-applicable", "planned", "planned"]
    assert suite.plan(Filters(), inventory).runs == ()
    assert [
        name for name, task in TASKS.items() if not task.photographs and task.ndim == 2 and task.channels == 3
    ] == [
        "abdomen",
        "cardiac-seq",
    ]


def test_a_choice_narrows_rows_columns_and_seeds():
    planned = plan(load_suite("table1"), methods=("erm",), targets=("lesav",), seeds=(7,))
    assert {p.row.id for p in planned} == {"erm"}  # the row of that id, and not the other one of the method
    assert {p.request.seed for p in planned} == {7}
    assert {c.target for p in planned for c in p.columns} == {"lesav"}
    assert {p.row.id for p in plan(load_suite("table1"), methods=("intra",))} == {"intra"}
    renamed = tuple(replace(row, id=f"{row.method}-{n}") for n, row in enumerate(load_suite("table1").rows))
    of_method = plan(replace(load_suite("table1"), rows=renamed, published=None), methods=("erm",))
    assert {p.row.method for p in of_method} == {"erm"}
    assert len({p.row.id for p in of_method}) == 2  # no row has that id


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"methods": ("ras4gd",)}, "did you mean 'ras4dg'"),
        ({"targets": ("lesva",)}, "did you mean 'lesav'"),
        ({"protocol": "papers"}, "did you mean 'paper'"),
        ({"overrides": {"training.epoch": "3"}}, "did you mean 'epochs'"),
        ({"overrides": {"method.alpha": "3"}}, "rows of one method"),
    ],
)
def test_choices_that_do_not_exist_are_named(choice, message):
    with pytest.raises(UsageError, match=message):
        plan(load_suite("table1"), **choice)


def test_an_unknown_suite_offers_the_nearest():
    with pytest.raises(UsageError, match=r"did you mean 'table1'.*\.toml"):
        load_suite("tabel1")


def test_a_suite_of_ones_own_is_a_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    suite = load_suite(str(path))
    assert (suite.name, suite.protocol, suite.rows[0].label, suite.columns[0].label) == (
        "mine",
        "clean",
        "erm",
        "lesav",
    )
    with pytest.raises(UsageError, match=r"cannot read the suite .*nowhere\.toml"):
        load_suite(str(tmp_path / "nowhere.toml"))


def test_quoted_and_nested_keys_are_the_same_setting():
    nested = parse_suite("[settings]\ntraining.epochs = 3\n" + MINIMAL, "a", "a")
    quoted = parse_suite('[settings]\n"training.epochs" = 3\n' + MINIMAL, "a", "a")
    assert nested == quoted
    assert nested.sections()["training"].epochs == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "sede = [1]\n" + t, "did you mean 'seeds'"),
        (lambda t: t.replace("[[rows]]", "[[more_row]]", 1), "did you mean 'more_rows'"),
        (lambda t: 'extend = "demo"\n' + t, "did you mean 'extends'"),
        (lambda t: 'plugins = "mine.py"\n' + t, "plugins is a list of files"),
        (lambda t: t.replace("task =", "taks ="), "needs task"),
        (lambda t: t.replace('target = "lesav"', 'target = "lesav"\nstrat = ["all"]'), "did you mean 'strata'"),
        (lambda t: t + "fold = 3\n", "did you mean 'folds'"),
        (lambda t: t + 'setting = "udaa"\n', "one of ssdg"),
        (lambda t: t + "folds = 1\n", "folds = 2 or more"),
        (lambda t: t + 'setting = "intra"\n', "folds = 2 or more"),
        (lambda t: t + "settings = { training.epoch = 3 }\n", "row 'erm'.*did you mean 'epochs'"),
        (lambda t: t + 'settings = { evaluation.empty = "one" }\n', "belongs to the suite"),
        (lambda t: "[settings]\nmethod.alpha = 3\n" + t, "belong to its row"),
        (lambda t: 'protocol = "claen"\n' + t, "did you mean 'clean'"),
        (lambda t: 'published = "table3"\n' + t, "did you mean 'table"),
        (lambda t: "seeds = [-1]\n" + t, "whole numbers"),
        (lambda t: "seeds = []\n" + t, "whole numbers"),
        (lambda t: 'seeds = ["a"]\n' + t, "seeds: expected a list of whole numbers, not"),
        (lambda t: t + '[[rows]]\nid = "erm"\nmethod = "erm"\n', "there twice"),
        (lambda t: f"seeds = [0, 0, 1]\n{t}", "seed 0 is there twice"),
        (lambda t: t.partition("[[rows]]")[0], "needs rows"),
        (lambda t: t + "= 3\n", "not valid TOML"),
        (lambda t: 'extends = "tabel1"\n' + t, "mine.toml, extends.*did you mean 'table1'"),
        (lambda t: "extends = 1\n" + t, "unknown suite '1'"),
        (lambda t: 'name = "lab/x"\n' + t, "suite 'lab/x' begins with a letter or digit and has none of / "),
        (lambda t: t + '[[rows]]\nid = "a/b"\nmethod = "erm"\n', "row 'a/b' begins with"),
        (lambda t: t + '[[rows]]\nid = "a,b"\nmethod = "erm"\n', "row 'a,b' begins with"),
    ],
)
def test_mistakes_in_a_file_are_named(change, message):
    with pytest.raises(UsageError, match=message):
        parse_suite(change(MINIMAL), "mine", "mine.toml")


def test_a_suite_that_extends_another_asks_for_the_same_runs():
    base = load_suite("fundus-quick")
    columns = '[[columns]]\ntask = "fundus"\nsource = "drive"\ntarget = "lesav"\nlabel = "ours"\n'
    suite = parse_suite(f'extends = "fundus-quick"\nseeds = [0, 1]\n{columns}', "mine", "mine.toml")
    assert (suite.name, suite.title, suite.rows, suite.settings) == ("mine", base.title, base.rows, base.settings)
    assert [column.label for column in suite.columns] == ["ours"]
    ours, theirs = Filters(methods=("erm",)), Filters(methods=("erm",), targets=("lesav",), seeds=(0, 1))
    requests = [planned.request for planned in suite.plan(ours, INVENTORY).runs]
    assert requests == [planned.request for planned in base.plan(theirs, INVENTORY).runs] != []


def test_a_suite_may_extend_one_that_extends_another():
    suite = parse_suite('extends = "ablation-fundus"\nseeds = [7]\n', "mine", "mine.toml")
    assert (suite.seeds, suite.columns) == ((7,), load_suite("ablation-fundus").columns)
    assert suite.rows == load_suite("table2").rows


def test_a_suite_may_extend_a_file_whose_paths_start_from_its_own_folder(tmp_path):
    (tmp_path / "lab" / "published").mkdir(parents=True)
    (tmp_path / "lab" / "published" / "provenance.json").touch()
    (tmp_path / "lab" / "base.toml").write_text('extends = "demo"\nseeds = [5]\nexports = ["published", "."]\n')
    (tmp_path / "mine.toml").write_text('extends = "lab/base.toml"\ntitle = "mine"\n')
    suite = load_suite(str(tmp_path / "mine.toml"))
    assert (suite.name, suite.title, suite.seeds, suite.rows) == ("mine", "mine", (5,), load_suite("demo").rows)
    assert suite.exports == (str(tmp_path / "lab" / "published"),)  # the suite's own folder has no export yet


def test_a_file_that_extends_itself_or_nothing_is_named(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    with pytest.raises(UsageError, match=r"cannot read the suite that .*a\.toml extends, .*b\.toml: No such file"):
        load_suite(str(tmp_path / "a.toml"))
    (tmp_path / "b.toml").write_text('extends = "./a.toml"\n')
    with pytest.raises(UsageError, match=r"a\.toml, extends: .*b\.toml extends itself"):
        load_suite(str(tmp_path / "a.toml"))


def test_a_missing_method_is_an_error_unless_the_paper_has_the_row():
    row = Row(id="csdg", method="csdg")
    assert plan(two_targets(row, published="table1")) == []
    with pytest.raises(UsageError, match="unknown method"):
        plan(two_targets(row))
    with pytest.raises(UsageError, match="unknown task"):
        two_targets(Row(id="erm", method="erm")).plan(Filters(), Inventory(INVENTORY.methods, {}))


def test_a_row_cannot_hide_that_its_method_sees_the_target():
    with pytest.raises(UsageError, match="'cutmix' is 'uda'"):
        plan(two_targets(Row(id="cutmix", method="cutmix")))
    with pytest.raises(UsageError, match="'erm' is 'ssdg'"):
        plan(two_targets(Row(id="erm", method="erm", access="uda")))


def test_reading_suites_and_tables_imports_neither_torch_nor_pandas():
    script = (
        "import sys, ssdg.benchmark.tables.suite_table; from ssdg.benchmark.suites.suite_file import load_suite;"
        "load_suite('table1'); print([m for m in ('torch', 'monai', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_words_of_version_0_1_are_understood():
    text = """
    [[columns]]
    task = "fetal"
    source = "atlases"
    target = "feta2021"
    groups = ["normal", "average"]
    [[rows]]
    id = "erm"
    method = "erm"
    setting = "source-only"
    """
    suite = parse_suite(text, "old", "old.toml")
    assert suite.columns[0].strata == ("normal", "average")
    assert suite.rows[0].access == "source-only"
    now = text.replace("groups", "strata").replace("setting", "access")
    assert parse_suite(now, "old", "old.toml") == suite
