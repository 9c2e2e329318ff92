"""What a slip must not cost: images overwritten, results mislabelled, a finished run marked failed, a traceback."""

import shutil
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssdg.benchmark import environment
from ssdg.benchmark.cli import main
from ssdg.benchmark.errors import Interrupted
from ssdg.benchmark.progress import Display
from ssdg.benchmark.settings import resolve_sections
from ssdg.benchmark.spec import RunRequest
from ssdg.benchmark.storage.results_reader import read_run, scan
from ssdg.benchmark.training.checkpoint import Checkpoints
from ssdg.benchmark.training.run import run_one
from ssdg.benchmark.training.runtime import Runtime
from ssdg.datasets import TASKS

from ...conftest import TINY
from ...suites import suite_file

TASK = """
name = "mine"
ndim = 2
channels = 3
classes = ["background", "vessel"]
shape = [32, 32]
"""
DOMAIN = """
[{role}."{name}"]
images = "{folder}/image/*.png"
labels = "{folder}/label/*.png"
label_map = {{ 0 = 0, 255 = 1 }}
"""
QUICK = ("--set=network.init_filters=8", "--set=training.epochs=1", "--set=training.batch_size=4")


@pytest.fixture
def own_task(tmp_path):
    def write(*more, shape="[32, 32]"):
        path = tmp_path / "mine.toml"
        domains = [
            DOMAIN.format(role="source", name="one", folder="phantom2d/a"),
            DOMAIN.format(role="target", name="two", folder="phantom2d/b"),
        ]
        path.write_text(TASK.replace("[32, 32]", shape) + "".join([*domains, *more]))
        return str(path)

    return write


def refused(result, *words):
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    return True


def test_predictions_never_overwrite_the_images(bench, tmp_path):
    assert bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY).exit_code == 0
    folder = tmp_path / "images"
    folder.mkdir()
    image = next((bench.data / "phantom2d" / "b" / "image").glob("*.png"))
    copy = folder / image.name
    copy.write_bytes(image.read_bytes())
    roundabout = str(tmp_path / "images" / ".." / "images")
    result = bench("predict", str(bench.run_path()), "--input", str(folder), "--output", roundabout)
    assert refused(result, "would overwrite", copy.name)
    assert copy.read_bytes() == image.read_bytes()
    masks = tmp_path / "masks"
    shutil.copytree(bench.data / "phantom2d" / "b" / "mask", masks)
    before = {path: path.read_bytes() for path in masks.iterdir()}
    call = ("predict", str(bench.run_path()), "--input", str(folder), "--foregrounds")
    assert refused(bench(*call, str(masks), "--output", str(masks)), "would overwrite", copy.name)
    assert {path: path.read_bytes() for path in masks.iterdir()} == before
    shutil.copy(image, folder / "another.png")
    one_mask = bench(*call, str(masks / image.name), "--output", str(tmp_path / "out"))
    assert refused(one_mask, "the mask of one image, and there are 2")


@pytest.mark.parametrize(
    ("method", "setting", "message"),
    [
        ("mixstyle", "method.probability=2", "method.probability must lie between 0 and 1"),
        ("dsu", "method.stages=9", "method.stages must be different stages of the network's encoder, 0 to 3"),
        ("ras4dg", "method.rsd_groups=7", "method.rsd_groups must divide the bottleneck's"),
    ],
)
def test_settings_that_do_not_fit_the_network_are_refused_before_anything_is_started(
    bench, tmp_path, method, setting, message
):
    assert refused(bench("run", "--method", method, "--target", "phantom2d-b", *TINY, "--set", setting), message)
    suite = str(suite_file(tmp_path / "mine.toml", (method,)))
    assert refused(bench("sweep", suite, "--set", setting), "nothing is started", message)
    assert not (bench.results / "runs").exists()


def test_predict_of_a_folder_that_is_no_run(bench, tmp_path):
    assert refused(bench("predict", str(tmp_path), "--input", __file__, "--output", str(tmp_path)), "no spec.json")
    (tmp_path / "spec.json").write_text("{")
    assert refused(bench("predict", str(tmp_path), "--input", __file__, "--output", str(tmp_path)), "damaged")


@pytest.mark.parametrize("slip", [("--device", "mps"), ("--device", "nonsense"), ("--set=training.precision=bf16",)])
def test_a_wrong_device_does_not_touch_a_finished_run(bench, slip):
    run = ("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    assert bench(*run, "--device", "cpu").exit_code == 0
    refused(bench(*run, "--target", "phantom2d-c", "--device", "cpu", *slip))
    assert read_run(bench.run_path()).state == "DONE"


def test_unlabelled_cases_are_refused_before_training(bench, own_task):
    task = own_task('[target.bare]\nimages = "phantom2d/b/image/*.png"\n')
    result = bench("run", "--method", "erm", "--task", task, "--target", "bare", *QUICK)
    assert refused(result, "bare", "no label", "bench predict")
    assert not (bench.results / "runs").exists()


def test_a_target_called_held_out_is_refused(bench, own_task):
    task = own_task(DOMAIN.format(role="target", name="held-out", folder="phantom2d/b"))
    assert refused(bench("run", "--method", "erm", "--task", task, "--target", "held-out", *QUICK), "rename")


def test_names_with_slashes_stay_one_folder(bench, own_task):
    task = own_task(DOMAIN.format(role="target", name="a/../../b", folder="phantom2d/b"))
    assert bench("run", "--method", "erm", "--task", task, "--target", "a/../../b", *QUICK).exit_code == 0
    [run], problems = scan(bench.results)
    assert not problems
    assert {one.domain for one in run.evaluations} == {"held-out", "a/../../b"}


def test_a_method_given_by_its_path_is_found_again(bench, tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    plugin = folder / "plain.py"
    plugin.write_text("from ssdg.methods.base import Method\n\n\nclass Plain(Method):\n    pass\n")
    result = bench("run", "--method", f"{plugin}:Plain", "--target", "phantom2d-b", *TINY)
    assert result.exit_code == 0, result.output
    [run], _ = scan(bench.results)
    assert run.state == "DONE"


def test_another_grid_in_the_task_file_is_another_run(bench, own_task):
    for shape in ("[32, 32]", "[48, 48]"):
        task = own_task(shape=shape)
        result = bench("run", "--method", "erm", "--task", task, "--target", "two", *QUICK)
        assert result.exit_code == 0, result.output
        assert "already done" not in result.output
    assert len(scan(bench.results)[0]) == 2


def test_a_spec_of_ones_own_task_repeats_its_run(bench, own_task):
    task = own_task()
    assert bench("run", "--method", "erm", "--task", task, "--target", "two", *QUICK).exit_code == 0
    spec = str(bench.run_path(task="mine") / "spec.json")
    assert refused(bench("run", spec), "--task")
    again = bench("run", spec, "--task", task, "--target", "two")
    assert "already done" in again.output, again.output
    assert refused(bench("run", spec, "--task", task, "--seed", "3"), "--seed")


@pytest.mark.parametrize(
    "setting",
    [
        "optimizer.lr=inf",
        "optimizer.weight_decay=nan",
        "optimizer.weight_decay=-1",
        "optimizer.poly_power=-1",
        "training.patience=0",
        "training.min_delta=-1",
    ],
)
def test_numbers_that_make_no_sense(bench, setting):
    refused(
        bench("run", "--method", "erm", "--target", "phantom2d-b", *TINY, f"--set={setting}"),
        setting.partition("=")[0],
    )


@pytest.mark.parametrize("option", ["--seeds=3-1", "--seeds=", "--methods=,", "--targets="])
@pytest.mark.parametrize("verb", ["table", "status"])
def test_an_empty_choice_is_refused(bench, verb, option):
    refused(bench(verb, "demo", option), option.partition("=")[0])


@pytest.mark.parametrize(
    ("source", "target", "more", "words"),
    [
        ("phantom2d-x", "phantom2d-b", {}, "phantom2d-a"),
        ("phantom2d-a", "phantom2d-bb", {}, "did you mean 'phantom2d-b'"),
        ("phantom2d-a", "phantom2d-b", {"settings": 3}, "section.key"),
    ],
)
def test_a_suite_that_names_what_is_not_there(bench, tmp_path, source, target, more, words):
    path = suite_file(tmp_path / "wrong.toml", [{"id": "erm", **more}], [{"source": source, "target": target}])
    for verb in ("status", "table", "sweep"):
        refused(bench(verb, str(path)), words)


@pytest.mark.parametrize(
    "arguments",
    [
        ("table", "demo", "--output=/proc/x/y.csv"),
        ("report", "demo", "--output=/proc/x/y.html"),
        ("export", "demo", "--output=/proc/x"),
        ("figure", "robustness", "demo", "--output=/proc/x/y.png"),
        ("new", "suite", "mine", "--output=/proc/x"),
        ("data", "new", "mine", "--images=*.png", "--labels=*.png", "--output=/proc/x/y.toml"),
        ("data", "verify", "--pictures=/proc/x"),
        ("predict", "/", f"--input={__file__}", "--output=/proc/x"),
        ("tune", "demo", "--row=erm", "--trials=2", "--output=/proc/x/y.toml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_an_output_that_cannot_be_is_named(arguments):
    result = CliRunner().invoke(main, arguments)
    words = " ".join(result.output.split())
    assert refused(result, "cannot be written")
    assert "no file can be made in /proc" in words
    assert arguments[-1].split("=")[0] in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--method=erm", "--target=phantom2d-b", "--seed=0,1"), ("one whole number", "--seeds 0,1,2")),
        (("sweep", "demo", "--jobs=two"), ("one whole number, such as 1, not 'two'",)),
        (("table", "demo", "--seeds=x"), ("whole numbers separated by commas, such as 0,1,2 or 0-2",)),
        (("table", "demo", "--set=preprocess.shape=a,b"), ("preprocess.shape", "comma-separated whole numbers")),
        (("table", "demo", "--set=optimizer.lr=fast"), ("optimizer.lr: expected a number, not 'fast'",)),
        (("table", "demo", "--set=training.selection=best"), ("training.selection: one of last, source-val",)),
    ],
)
def test_a_list_or_number_that_is_none_says_what_is_expected(arguments, words):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    for word in words:
        assert word in " ".join(result.output.split())


@pytest.mark.parametrize("verb", ["table", "rank", "report", "export", "cancel"])
def test_a_results_folder_that_is_named_and_not_there_is_refused(tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    out = ("--output", "out") if verb == "export" else ()
    assert refused(
        CliRunner().invoke(main, [verb, "demo", *out, "--results-root", "nowhere"]), "nowhere", "not exist"
    )
    assert not list(tmp_path.iterdir())


def test_where_nothing_was_run_the_command_that_runs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["table", "demo"])
    assert result.exit_code == 0
    assert "not run" in result.stdout
    assert "there is no folder results; `bench sweep demo` runs it" in result.stderr


def test_preparing_a_domain_that_the_task_does_not_have(bench, own_task):
    # `data` is a group: its roots come after its verb.
    roots = ("--data-root", str(bench.data), "--results-root", str(bench.results))
    refused(bench("data", "prepare", "tow", "--task", own_task(), *roots), "did you mean 'two'")


class Stopping(Display):
    """Asks the run to stop at the first case that is prepared, or scored."""

    stop = False

    def __init__(self, at: str) -> None:
        super().__init__("test")
        self.at = at

    def preparing(self, domain, done, total):
        self.stop |= self.at == "preparing"

    def scored(self):
        self.stop |= self.at == "scored"


@pytest.mark.parametrize("at", ["preparing", "scored"])
def test_ctrl_c_is_heard_while_preparing_and_scoring(bench, at):
    sections, _ = resolve_sections("clean", dict(text[6:].split("=") for text in TINY))
    request = RunRequest(task="phantom2d", source="phantom2d-a", method="erm", **sections)
    place = Runtime(data_root=bench.data, results_root=bench.results, device="cpu")
    display = Stopping(at)
    arguments = (request, TASKS["phantom2d"], ["phantom2d-b"], place)
    with pytest.raises(Interrupted):
        run_one(*arguments, display, lambda: display.stop)
    assert not list(bench.results.glob("runs/*/*/*/FAILED"))
    # Before its first checkpoint a stopped run is as if it had not been started, and no process seems to be missing.
    assert scan(bench.results)[0][0].state == ("QUEUED" if at == "preparing" else "DONE")
    folder = run_one(*arguments, Display("test"))
    assert len(list(folder.glob("evaluations/*/DONE"))) == 2


def test_a_kill_between_the_final_weights_and_the_marker_trains_nothing_again(bench, monkeypatch):
    run = ("run", "--method", "erm", "--target", "phantom2d-b", *TINY)
    finish = Checkpoints.finish

    def killed(self, weights):
        finish(self, weights)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "finish", killed)
        bench(*run)
    folder = bench.run_path() / "checkpoints"
    assert (folder / "last.pt").exists()
    assert bench(*run).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["final.pt"]


def test_terminating_a_sweep_stops_its_jobs(bench, tmp_path):
    path = suite_file(tmp_path / "long.toml", settings={"training.epochs": 5000})
    process = bench.start("sweep", str(path))
    process.until(lambda: list(bench.results.glob("runs/*/*/*/history.csv")), "an epoch")
    process.send_signal(signal.SIGTERM)
    process.finish(130)
    assert not list(bench.results.glob("runs/*/*/*/lease.*.json")), "a job is still running"


def test_the_commit_is_not_that_of_a_checkout_around_the_environment(tmp_path, monkeypatch):
    commit = environment.commit.__wrapped__  # not what an earlier call found
    assert commit() or not (Path(environment.__file__).resolve().parents[1] / ".git").exists()
    elsewhere = tmp_path / "project" / "site-packages" / "ssdg" / "benchmark"
    elsewhere.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(elsewhere / "environment.py"))
    answers = []
    monkeypatch.setattr(environment.subprocess, "run", lambda *_args, **_options: answers.append(1))
    assert commit() == ""
    assert not answers
