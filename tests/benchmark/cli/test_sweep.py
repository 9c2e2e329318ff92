"""Sweeps on this machine: states, one failure that stops nothing, retry, and continuing after the sweep is killed."""

import json
import os
import re
import shutil
import signal

import pytest

from ssdg.benchmark.cli.sweep import _estimate_text
from ssdg.benchmark.durations import duration
from ssdg.benchmark.launching.job_file import STARTED
from ssdg.benchmark.launching.registry import SCHEDULERS
from ssdg.benchmark.outcomes.planned_run import match_plan
from ssdg.benchmark.storage.attempts import read_record
from ssdg.benchmark.storage.lease import read_owner
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.suites.suite import Filters, Suite

from ...conftest import TINY, Bench
from ...suites import suite_file
from ..stored import ERM, INVENTORY, LESAV, RAS4DG, write_run

FRAGILE = """
from pathlib import Path
from ssdg.methods.base import Method

class Fragile(Method):
    "Raises as long as a file is there, in the first step of the run with seed 0."

    def training_step(self, batch, context):
        if Path({marker!r}).exists() and context.rng.initial_seed() == {first}:
            raise RuntimeError("fragile broke on purpose")
        return super().training_step(batch, context)
"""


@pytest.fixture
def suite(tmp_path):
    def write(other="randconv", baseline=True):
        rows = (*(["erm"] if baseline else []), *([{"id": "other", "method": other}] if other else []))
        return str(suite_file(tmp_path / "mine.toml", rows, seeds=(0, 1)))

    return write


@pytest.fixture(scope="module")
def swept(phantom_data, tmp_path_factory):
    """The command line, and a suite of which one run of four is finished; for tests that look and change nothing."""
    folder = tmp_path_factory.mktemp("swept")
    bench = Bench(phantom_data, folder / "results")
    rows = ("erm", {"id": "other", "method": "randconv"})
    name = str(suite_file(folder / "mine.toml", rows, seeds=(0, 1)))
    assert bench("sweep", name, "--methods", "erm", "--seeds", "0").exit_code == 0
    return bench, name


def states(bench, suite, *options):
    result = bench("status", suite, "--json", *options)
    return {(row["row"], row["seed"]): row["state"] for row in json.loads(result.stdout)}


def test_a_killed_sweep_continues_to_its_end_and_another_has_nothing_to_do(bench, suite):
    name = suite(other=None)
    planned = bench("sweep", name, "--dry-run")
    assert "2 to do" in planned.output
    assert not (bench.results / "runs").exists()
    process = bench.start("sweep", name)
    process.until(lambda: list(bench.results.glob("runs/*/*/*/history.csv")), "an epoch")
    process.kill()
    process.wait()
    result = bench("sweep", name, "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert set(states(bench, name).values()) == {"DONE"}
    assert len(list(bench.results.glob("runs/*/*/*"))) == 2, "nothing was trained twice"
    assert "0 to do" in bench("sweep", name).output
    table = bench("table", name, "--final", "--held-out")
    assert table.exit_code == 0, table.output
    assert "±" in table.output


def test_one_failure_is_named_and_hides_nothing(bench, suite, tmp_path):
    from ssdg.benchmark.randomness import derived_seed

    marker = tmp_path / "break"
    marker.touch()
    plugin = tmp_path / "fragile.py"
    plugin.write_text(FRAGILE.format(marker=str(marker), first=derived_seed(0, "method", 0)))
    name, options = suite("fragile", baseline=False), ("--plugin", str(plugin))
    result = bench("sweep", name, "--jobs", "2", *options)
    assert result.exit_code == 1, result.output
    found = states(bench, name, *options)
    assert found == {("other", 0): "FAILED", ("other", 1): "DONE"}
    status = bench("status", name, *options)
    assert status.exit_code == 1
    assert "fragile broke on purpose" in status.output
    table = bench("table", name, "--final", *options)
    assert table.exit_code == 3
    assert "other" in table.output
    untouched = bench("sweep", name, *options)
    assert "0 to do" in untouched.output
    marker.unlink()
    retried = bench("retry", name, *options)
    assert retried.exit_code == 0, retried.output
    assert set(states(bench, name, *options).values()) == {"DONE"}


HELD = """
import time
from pathlib import Path
from ssdg.methods.base import Method

class Held(Method):
    "The baseline, that stays in its second epoch as long as a file is there."

    def training_step(self, batch, context):
        while context.epoch == 1 and Path({file!r}).exists():
            time.sleep(0.02)
        return super().training_step(batch, context)
"""


@pytest.fixture
def hold(tmp_path):
    """The file that holds runs of ``held``."""
    (tmp_path / "hold").touch()
    return tmp_path / "hold"


@pytest.fixture
def held(suite, tmp_path, hold):
    """A suite whose second row waits for us, and the options it needs."""
    plugin = tmp_path / "held.py"
    plugin.write_text(HELD.format(file=str(hold)))
    return suite("held"), ("--methods", "other", "--plugin", str(plugin))


def test_ctrl_c_stops_the_jobs_too(bench, held, hold):
    name, options = held
    process = bench.start("sweep", name, *options, "--set", "training.epochs=5000")
    process.until(lambda: running(bench, "held"), "a job")
    process.send_signal(signal.SIGINT)
    hold.unlink()
    process.finish(130)
    assert not list(bench.results.glob("runs/*/*/*/lease.*.json")), "a job is still running"


def running(bench, method):
    return [path.parent for path in bench.results.glob(f"runs/*/{method}/*/history.csv")]


def test_cancel_stops_what_runs_and_what_waits(bench, held, hold):
    name, options = held
    options = (*options, "--set", "training.epochs=5000")
    process = bench.start("sweep", name, "--jobs", "1", *options)
    process.until(lambda: running(bench, "held"), "the held row")
    while_running = bench("status", name, *options)
    assert "1/5000 epochs" in while_running.output
    cancelled = bench("cancel", name, *options)
    assert "1 running asked to stop with a checkpoint, 1 waiting taken from the queue" in cancelled.output
    assert f"`bench sweep {name}`" in cancelled.output
    hold.unlink()
    output = process.finish(130)
    assert output.count("cancelled") == 2, "one ran and one waited"
    assert not list(bench.results.glob("runs/*/*/*/lease.*.json"))
    assert set(states(bench, name, *options).values()) == {"STALE", "QUEUED"}
    [path] = running(bench, "held")
    assert (path / "checkpoints" / "last.pt").exists()


def test_a_killed_run_is_started_again(bench, held, hold):
    name, options = held
    process = bench.start("sweep", name, "--seeds", "0", "--jobs", "2", *options)
    process.until(lambda: running(bench, "held"), "the held row")
    [path] = running(bench, "held")
    os.kill(read_owner(path).pid, signal.SIGKILL)
    hold.unlink()
    process.finish()
    assert len(read_record(path)["starts"]) == 2


STUCK = """
import time
from ssdg.methods.base import Method

class Stuck(Method):
    "Never comes to the end of a step."

    def training_step(self, batch, context):
        time.sleep(100000)
"""


def test_a_run_that_is_killed_before_any_progress_is_given_up(bench, suite, tmp_path):
    plugin = tmp_path / "stuck.py"
    plugin.write_text(STUCK)
    name, options = suite("stuck"), ("--plugin", str(plugin), "--methods", "other", "--seeds", "0")
    process = bench.start("sweep", name, *options)
    for start in (1, 2, 3, 4):  # the first prepares the data, which is progress
        process.until(lambda n=start: started(bench, n), f"start {start}")
        [path] = bench.results.glob("runs/*/stuck/*")
        os.kill(read_owner(path).pid, signal.SIGKILL)
    output = process.finish(1)
    assert "started 3 times in a row without reaching a checkpoint" in output
    assert states(bench, name, *options) == {("other", 0): "FAILED"}


def started(bench, count):
    """Tell whether the only run has been started so often, and its training has begun."""
    logs = list(bench.results.glob("logs/*/*.log"))
    return bool(logs) and logs[0].read_text().count("training, ") == count


def test_logs_by_folder_and_by_id(swept):
    bench, _ = swept
    path = bench.run_path("erm")
    whole = bench("logs", str(path))
    assert whole.exit_code == 0, whole.output
    assert "held-out DSC" in whole.output
    identity = path.name.partition("-")[2]
    last = bench("logs", identity[:6], "--lines", "1")
    assert last.stdout.strip() == whole.stdout.strip().splitlines()[-1]
    [log] = bench.results.glob("logs/mine/*.log")
    printed = log.read_text()
    assert bench("logs", "mine", "--methods", "erm", "--seeds", "0").stdout == whole.stdout
    log.write_text(f"{STARTED}earlier\nan earlier start\n{printed}")
    assert bench("logs", "mine").stdout == whole.stdout
    assert "an earlier start" in bench("logs", "mine", "--all").stdout
    log.write_text(printed)
    assert "no job in" in bench("logs", "mine", "--seeds", "7").output
    assert bench("logs", str(path), "--seeds", "0").exit_code == 2
    missing = bench("logs", "nosuchrun")
    assert missing.exit_code == 2
    assert "neither a run's folder nor the beginning" in missing.output


def test_a_run_by_hand_has_no_log_and_says_so(bench):
    assert bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY).exit_code == 0
    result = bench("logs", str(bench.run_path("erm")))
    assert result.exit_code == 2
    assert "prints to its terminal" in result.output


def test_code_that_changed_since_is_flagged_and_invalidates_nothing(swept, monkeypatch):
    bench, name = swept
    monkeypatch.setattr("ssdg.benchmark.environment.code_digest", lambda: "another")
    result = bench("status", name, "--methods", "erm", "--seeds", "0")
    assert result.exit_code == 0, result.output
    assert result.output.count("code changed since") == 1


def test_data_that_cannot_be_read_fail_the_run_with_their_name(bench, suite, tmp_path):
    broken = tmp_path / "data"
    shutil.copytree(bench.data, broken)
    image = broken / "phantom2d" / "b" / "image" / "b-02.png"
    good = image.read_bytes()
    image.write_bytes(good[:60])
    elsewhere = Bench(broken, bench.results)
    name = suite()
    result = elsewhere("sweep", name, "--methods", "erm", "--seeds", "0")
    assert result.exit_code == 1, result.output
    status = elsewhere("status", name, "--methods", "erm", "--seeds", "0")
    assert status.exit_code == 1
    assert image.name in status.output
    image.write_bytes(good)
    retried = elsewhere("retry", name, "--methods", "erm", "--seeds", "0")
    assert retried.exit_code == 0, retried.output


def test_changed_files_are_seen_as_a_run_would_see_them(swept, tmp_path):
    before, name = swept
    data, results = tmp_path / "data", tmp_path / "results"
    shutil.copytree(before.data, data)
    shutil.copytree(before.results, results)
    bench, options = Bench(data, results), ("--methods", "erm", "--seeds", "0")

    def change(domain):
        labels = data / "phantom2d" / domain / "label"
        shutil.copy(labels / f"{domain}-01.png", labels / f"{domain}-00.png")

    assert "0 to do" in bench("sweep", name, "--dry-run", *options).output, "copies of the same files"
    change("b")
    changed = bench("sweep", name, "--dry-run", *options).output
    assert "0 to train, 1 evaluation;" in changed
    assert "phantom2d-b has changed" in changed
    assert "0 to do" in Bench(tmp_path / "nowhere", results)("sweep", name, *options).output
    spec = bench.run_path() / "spec.json"
    assert bench("run", str(spec), "--target", "phantom2d-b").exit_code == 0
    again = bench("sweep", name, *options)
    assert again.exit_code == 0, again.output
    assert "0 to do" in again.output
    assert "differ in manifest" in bench("table", name, *options).output
    assert bench("status", name, *options).exit_code == 0
    assert "nothing to cancel" in bench("cancel", name, *options).output
    change("a")
    assert "1 to train, 2 evaluations" in bench("sweep", name, "--dry-run", *options).output


def test_the_threads_of_a_run_are_those_of_cpus_on_this_machine_too(bench, suite, monkeypatch):
    started = []
    monkeypatch.setattr("ssdg.benchmark.cli.sweep._run_here", lambda files, _at_once: started.extend(files))
    bench("sweep", suite(other=None), "--cpus", "3")
    bench("sweep", suite(other=None))
    assert [file.job.runtime.threads for file in started] == [3, 3, None, None]


def test_a_setting_that_a_method_lacks_is_refused_before_anything_starts(bench, suite):
    result = bench("sweep", suite(), "--methods", "other", "--set", "method.typo=1", "--dry-run")
    assert result.exit_code == 2
    assert "typo" in result.output


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("preprocess.shape=32,32,32", "preprocess.shape=32,32,32 has 3 sides; task 'phantom2d' needs 2"),
        ("training.window=32,32,32", "training.window=32,32,32 has 3 sides; task 'phantom2d' needs 2"),
        ("training.window=512,512", "training.window=512,512 is larger than the grid, "),
    ],
)
def test_a_grid_or_a_window_that_does_not_fit_is_refused_before_anything_starts(bench, suite, setting, message):
    result = bench("sweep", suite(), "--set", setting, "--dry-run")
    assert result.exit_code == 2
    assert message in result.output


OWN = """
name = "own"
ndim = 2
channels = 3
classes = ["background", "vessel"]
shape = [32, 32]
"""
OWN_DOMAIN = """
[{role}.{name}]
images = "phantom2d/{folder}/image/{case}.png"
{labels}
label_map = {{ 0 = 0, 255 = 1 }}
"""


@pytest.mark.parametrize("scheduler", ["local", "fake"])
@pytest.mark.parametrize(
    ("case", "source", "target", "row", "words"),
    [
        ("{group}-{case}", "a", "b", "erm", ("row erm: domain 'a': all cases are of one group, 'a'", "{group}")),
        ("{group}-{case}", "b", "a", {"id": "intra", "method": "erm", "folds": 2}, ("row intra: domain 'a'", "cut")),
        ("{case}", "a", "a", "erm", ("row erm: 'a' is both the source and a target", "--sources all")),
        ("{case}", "a", "bare", "erm", ("row erm: bare: ", "cases have no label", "key labels")),
    ],
)
def test_what_holds_for_every_run_is_refused_before_anything_starts(
    bench, tmp_path, monkeypatch, scheduler, case, source, target, row, words
):
    monkeypatch.setitem(SCHEDULERS, "fake", None)  # which is not asked for anything
    monkeypatch.setattr("ssdg.benchmark.cli.sweep.find_scheduler", lambda _name: object())
    task = tmp_path / "own.toml"
    written = [("domain", "a", "a", case), ("domain", "b", "b", "{case}"), ("target", "bare", "c", "{case}")]
    text = OWN
    for role, name, folder, pattern in written:
        labels = f'labels = "phantom2d/{folder}/label/{pattern}.png"' if name != "bare" else ""
        text += OWN_DOMAIN.format(role=role, name=name, folder=folder, case=pattern, labels=labels)
    task.write_text(text)
    name = suite_file(tmp_path / "s.toml", [row], [{"task": "own", "source": source, "target": target}], seeds=(0, 1))
    result = bench("sweep", str(name), "--task", str(task), "--launcher", scheduler)
    assert result.exit_code == 2, result.output
    assert result.output.count("row ") == 1, "once, not for every seed"
    for word in ("nothing is started", *words):
        assert word in result.output
    assert not (bench.results / "logs").exists()


def test_absent_data_are_refused_where_runs_start_and_planned_elsewhere(bench, suite, tmp_path):
    away = Bench(tmp_path / "nowhere", bench.results)
    refused = away("sweep", suite())
    assert refused.exit_code == 2
    assert refused.output.count("there is no folder") == 1
    assert "row erm, other: " in refused.output
    assert away("sweep", suite(), "--dry-run").exit_code == 0


def test_the_plan_tells_the_time_from_finished_runs(swept):
    bench, name = swept
    plan = bench("sweep", name, "--dry-run").output
    assert "1 DONE" in plan
    assert re.search(r"about [\d.]+ (m?s|min) of training for 1", plan), "of a second, not 0.0 h"
    assert "for 1 of them, one at a time on an idle machine; no finished run tells the time of other" in plan
    assert "3 to train, 6 evaluations" in plan


def test_slurm_that_is_not_there_is_told_in_one_line(bench, suite, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = bench("sweep", suite(), "--launcher", "slurm")
    assert result.exit_code == 2
    assert "sbatch and squeue are not on the path" in result.output


def test_a_run_that_failed_before_it_began_is_called_failed_in_tables_too(bench, suite, tmp_path):
    name, options = suite("erm"), ("--methods", "other", "--seeds", "0")
    shared = tmp_path / "data"  # an image of the source in the target, as only their files tell
    shutil.copytree(bench.data, shared)
    shutil.copy(shared / "phantom2d/a/image/a-00.png", shared / "phantom2d/b/image/b-00.png")
    failed = Bench(shared, bench.results)("sweep", name, *options)
    assert failed.exit_code == 1, failed.output
    assert "identical images" in bench("logs", "mine").output, "of a run that has no folder"
    table = bench("table", name, *options)
    assert "| failed" in table.output
    again = bench("sweep", name, *options)
    assert "0 to do" in again.output
    assert f"They are left alone. Once the cause is gone: `bench retry {name}`" in again.output


def test_a_forecast_takes_the_fastest_epoch_of_finished_runs_of_the_kind(tmp_path):
    suite = Suite(name="mine", title="Mine", columns=(LESAV,), rows=(ERM, RAS4DG), seeds=(0, 1))
    done, *others = suite.plan(Filters(), INVENTORY).runs
    (write_run(tmp_path, done.request, {}) / "history.csv").write_text("epoch,seconds\n0,90\n1,12\n2,60\n")
    seconds = 12 * done.request.training.epochs
    text = _estimate_text(match_plan(others, [])[0], scan(tmp_path)[0])
    assert text.startswith(f"about {duration(seconds)} of training for 1 of them")
    assert text.endswith("no finished run tells the time of ras4dg")
