"""The figure of predictions: whose colours, which case, which slice, and what is said where there is nothing."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ssdg.benchmark.errors import UsageError
from ssdg.benchmark.figures.case_view import (
    ERRORS,
    CaseView,
    class_colours,
    error_colours,
    painted,
    pixel_errors,
    require_counts,
    shrunk,
)
from ssdg.benchmark.figures.predictions import Panel, Strip, predictions_figure
from ssdg.benchmark.figures.style import AREAS, SMALL
from ssdg.datasets import TASKS
from ssdg.datasets.phantom import write_phantom

from ...conftest import TINY, TINY_3D, Bench
from ...suites import suite_file

TARGETS = {2: ("phantom2d-b", "phantom2d-c"), 3: ("phantom3d-b",)}


def write_suite(folder, ndim):
    rows = ("randconv", {"id": "erm", "label": "w/o SSDG"}, {"id": "feddg", "label": "FedDG"})
    return str(suite_file(folder / f"pictures{ndim}.toml", rows, TARGETS[ndim]))


@pytest.fixture(scope="module", params=[2, 3], ids=["2D", "3D"])
def scored(request, phantom_data, tmp_path_factory):
    """A suite of which one row ran, and its results."""
    folder = tmp_path_factory.mktemp("scored")
    bench = Bench(phantom_data, folder / "results")
    suite = write_suite(folder, request.param)
    targets = [f"--target={target}" for target in TARGETS[request.param]]
    result = bench("run", "--method", "erm", *targets, *{2: TINY, 3: TINY_3D}[request.param])
    assert result.exit_code == 0, result.output
    return bench, suite, request.param


def draw(bench, suite, *given, data=None):
    roots = ("--data-root", str(data or bench.data), "--results-root", str(bench.results))
    return bench("figure", "predictions", suite, *roots, *given)


def test_every_row_is_beside_the_label(scored, tmp_path):
    bench, suite, ndim = scored
    for width in ("3.5", "7.2"):
        output = tmp_path / f"{width}.png"
        result = draw(bench, suite, "--output", str(output), "--width", width)
        assert result.exit_code == 0, result.output
        assert f"{ {2: 2, 3: 1}[ndim] } cases in" in result.output
        assert "whose DSC by w/o SSDG (seed 0) is the median of" in result.output
        with Image.open(output) as picture:
            assert picture.width == pytest.approx(float(width) * 400, abs=1)
            assert np.asarray(picture.convert("L")).std() > 20


def test_torch_is_not_needed(scored, tmp_path):
    bench, suite, _ = scored
    roots = ["--data-root", str(bench.data), "--results-root", str(bench.results)]
    arguments = ["figure", "predictions", suite, *roots, "--output", str(tmp_path / "f.pdf")]
    code = (
        "import sys\n"
        "from ssdg.benchmark.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'monai', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_case_can_be_named(scored, tmp_path):
    bench, suite, _ = scored
    output = ("--output", str(tmp_path / "f.pdf"))
    result = draw(bench, suite, "--case", "b-01", *output)
    assert result.exit_code == 0, result.output
    assert "case b-01, as asked for" in result.output
    wrong = draw(bench, suite, "--case", "b-91", *output)
    assert wrong.exit_code == 2
    assert "unknown scored case 'b-91'" in wrong.output


def test_a_prediction_that_was_removed_is_said_in_its_panel(scored, tmp_path):
    bench, suite, _ = scored
    [folder] = bench.results.glob("runs/*/erm/s*/evaluations/*-b-*/predictions")
    folder.rename(folder.with_name("elsewhere"))
    try:
        target = folder.parent.name.rpartition("-")[0]
        result = draw(bench, suite, "--targets", target, "--output", str(tmp_path / "f.png"))
        assert result.exit_code == 0, result.output
    finally:
        folder.with_name("elsewhere").rename(folder)


def test_other_data_than_those_scored_are_refused(scored, tmp_path):
    bench, suite, ndim = scored
    write_phantom(tmp_path / "other", ndim, cases={2: 8, 3: 4}[ndim], size={2: 48, 3: 24}[ndim], seed=9)
    result = draw(bench, suite, "--output", str(tmp_path / "f.png"), data=tmp_path / "other")
    assert result.exit_code == 2
    assert "do not give the counts stored beside it" in result.output
    empty = draw(bench, suite, "--output", str(tmp_path / "f.png"), data=tmp_path / "nothing")
    assert empty.exit_code == 2
    assert not (tmp_path / "f.png").exists()


def test_a_suite_without_a_finished_run_says_what_to_do(bench, tmp_path):
    result = draw(bench, write_suite(tmp_path, 2), "--output", str(tmp_path / "f.png"))
    assert result.exit_code == 3
    assert "nothing that is asked for of suite" in result.output
    assert "bench sweep" in result.output
    assert draw(bench, write_suite(tmp_path, 2), "--output", "f.jpg").exit_code == 2


def test_errors_have_the_colours_of_the_legend():
    label = np.array([[0, 0, 1, 1, 1, 1]])
    prediction = np.array([[0, 1, 1, 0, 2, 1]])
    inside = np.array([[True, True, True, True, True, False]])
    places = pixel_errors(label, prediction, inside)
    assert places.tolist() == [[0, 2, 1, 3, 4, 0]]
    colours = ["#" + "".join(f"{value:02X}" for value in pixel) for pixel in painted(places, ERRORS)[0]]
    names = ("false positive", "true positive", "false negative", "another class")
    assert colours == ["#FFFFFF", *(ERRORS[name] for name in names), "#FFFFFF"]
    assert pixel_errors(label, prediction, None).tolist() == [[0, 2, 1, 3, 4, 1]]


def test_classes_keep_their_colours_whatever_is_predicted():
    task = TASKS["fetal"]
    colours = class_colours(task)
    assert list(colours) == list(task.classes[1:])
    assert len(set(colours.values())) == 7
    one, other = painted(np.array([[0, 3]]), colours), painted(np.array([[3, 7]]), colours)
    assert (one[0, 1] == other[0, 0]).all()
    assert (one[0, 0] == 255).all()
    many = replace(task, classes=tuple(map(str, range(12))))
    assert set(class_colours(many).values()) == set(AREAS)
    assert len(class_colours(many)) == 11


def test_a_single_class_is_drawn_as_what_is_right_of_it_and_cannot_be_another():
    task = TASKS["fundus"]
    assert list(class_colours(task).values()) == [ERRORS["true positive"]]
    assert "another class" not in error_colours(task)
    assert "another class" in error_colours(TASKS["fetal"])


def test_thin_lines_stay_when_a_picture_shrinks():
    picture = np.full((400, 400, 3), 255, np.uint8)
    picture[:, 200] = 0
    small = shrunk(picture, 100)
    assert small.shape == (100, 100, 3)
    assert small[:, 50].max() == round(255 * 3 / 4)
    assert shrunk(small, 100) is small


def test_a_slice_is_shown_upright():
    label = np.zeros((4, 6, 3), np.uint8)  # right, front, top
    label[0, 5, 1] = 1  # left, front
    view = CaseView(
        label[None].astype(np.float32), label, None, (1.0, 2.0, 1.0), (slice(None), slice(None), 1), ((1,),), 2
    )
    plane = view.plane(label)
    assert plane.shape == (6, 4)
    assert plane[0, 0] == 1
    assert view.aspect == 6 * 2 / 4


def test_counts_that_differ_in_one_voxel_are_seen():
    label = np.zeros((4, 4), np.uint8)
    label[1] = 1
    view = CaseView(np.zeros((1, 4, 4), np.float32), label, None, (1.0, 1.0), (slice(None), slice(None)), ((1,),), 2)
    stored = np.array([[4], [0], [0], [0], [0], [0]])  # tp, fp, fn inside the foreground, then outside of it
    require_counts(view, label, stored, "there")
    other = label.copy()
    other[0, 0] = 1
    with pytest.raises(UsageError, match=r"^there and the label"):
        require_counts(view, other, stored, "there")
    with pytest.raises(UsageError, match=r"^there and the label"):
        require_counts(view, label[:3], stored, "there")
    with pytest.raises(UsageError, match=r"^there and the label"):
        require_counts(view, np.where(label == 1, 2, label), stored, "there")


def test_nothing_is_cut_off_and_nothing_overlaps():
    picture = np.zeros((20, 20, 3), np.uint8)
    names = ("Image", "Label", "w/o SSDG", "RASS + RMS + RSD (RAS4DG)", "Intra-Domain", "a method with a long name")
    panels = tuple(Panel(name, picture, "12.3") for name in names)
    strips = [Strip("target one", 1.0, panels), Strip("target two", 0.7, (*panels[:2], Panel("x", reason="not run")))]
    for width in (3.5, 7.2):
        figure = predictions_figure(strips, {f"class {i}": "#000000" for i in range(9)}, "A long note. " * 20, width)
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [text.get_window_extent(renderer) for text in figure.texts]
        pictures = [axes.get_window_extent(renderer) for axes in figure.axes]
        for box in (*boxes, *pictures, figure.legends[0].get_window_extent(renderer)):
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= figure.bbox.width + 1
            assert box.y1 <= figure.bbox.height + 1
        for text in boxes:
            assert not any(text.overlaps(other) for other in pictures)
        everything = [*boxes, figure.legends[0].get_window_extent(renderer)]
        assert not any(one.overlaps(two) for i, one in enumerate(everything) for two in everything[:i])
        assert min(text.get_fontsize() for text in figure.texts) >= SMALL
