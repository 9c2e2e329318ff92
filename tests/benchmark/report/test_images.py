"""A report's thumbnails: the colours of a figure of the same case, and the slice that is shown."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ssdg.benchmark.data.images import read_prediction
from ssdg.benchmark.figures import predictions
from ssdg.benchmark.figures.case_view import view_case
from ssdg.benchmark.report.worst import worst_slice
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets import TASKS

from .test_report import page, pictures, report, volume_page, volumes  # noqa: F401 - fixtures


def thumbnail(page, case, caption, shape):  # noqa: F811
    """Return a row's first thumbnail of a case as (H, W, 3) colours of the native grid."""
    images = page.section("worst").find_all("img")
    [uri, *_] = [
        one.attributes["src"] for one in images if one.attributes["alt"].startswith(f"{caption} of w/o SSDG, {case}")
    ]
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))
    rows, columns = (((np.arange(n) + 0.5) * decoded.shape[axis] / n).astype(int) for axis, n in enumerate(shape))
    return decoded[np.ix_(rows, columns)]


def figure_panels(made, case, tmp_path, monkeypatch):
    """Return the panels of a case by title, as ``bench figure predictions`` draws them."""
    strips, draw = [], predictions.predictions_figure
    monkeypatch.setattr(predictions, "predictions_figure", lambda *args: strips.extend(args[0]) or draw(*args))
    bench, suite = made
    roots = ("--results-root", str(bench.results), "--data-root", str(bench.data))
    output = ("--output", str(tmp_path / "figure.png"))
    result = bench("figure", "predictions", str(suite), *roots, "--case", case, *output)
    assert result.exit_code == 0, result.output
    [strip] = [one for one in strips if case in one.title]
    return {panel.title: panel for panel in strip.panels}


def key_colours(page, heading):  # noqa: F811
    """Return the colours of a page's key by name."""
    [key, *_] = [one for one in page.section("worst").find_all("ul") if one.text.strip().startswith(heading)]
    swatches = [(item.text, item.find_all("i")[0].attributes["style"]) for item in key.find_all("li")[1:]]
    return {name: tuple(bytes.fromhex(style.partition("#")[2])) for name, style in swatches}


def colour_where(picture, mask):
    """Return the one colour that a picture has in a mask."""
    assert mask.any()
    [colour] = {tuple(map(int, pixel)) for pixel in picture[mask]}
    return colour


def read_case(bench, ndim, case):
    """Return a target's case with its stored prediction by the baseline, first seed."""
    task = TASKS[f"phantom{ndim}d"]
    domain = task.domain(f"{task.name}-b")(bench.data)
    [found] = [one for one in domain.cases if one.id == case]
    view = view_case(found, domain, task, PreprocessConfig())
    [path] = bench.results.glob(f"runs/*/erm/s0*/evaluations/{domain.name}-*/predictions/{case}.*")
    return task, view, read_prediction(path, domain).array[0]


def shown_case(page):  # noqa: F811
    """Return the first case of the baseline on the first target of which seed 0 is shown."""
    for block in page.section("worst").find_all("div"):
        alts = [one.attributes["alt"] for one in block.find_all("img")]
        of_baseline = block.attributes.get("class") == "case" and "w/o SSDG" in " ".join(alts)
        if of_baseline and "-b" in alts[0] and "seed 1" not in block.text:
            return alts[0].split()[2]
    pytest.fail("no case of the baseline's seed 0 is shown")


def test_errors_have_the_same_colours_in_a_report_and_in_a_figure(pictures, page, tmp_path, monkeypatch):  # noqa: F811
    case = shown_case(page)
    _, view, prediction = read_case(pictures[0], 2, case)
    label, predicted, inside = view.plane(view.label), view.plane(prediction), view.inside("foreground")
    drawn = thumbnail(page, f"case {case}", "Errors", label.shape)
    panel = figure_panels(pictures, case, tmp_path, monkeypatch)["w/o SSDG"].picture
    assert (drawn == panel).all(), "pixel by pixel the same drawing"
    masks = {
        "true positive": (label == 1) & (predicted == 1),
        "false positive": (label == 0) & (predicted == 1),
        "false negative": (label == 1) & (predicted == 0),
    }
    colours = key_colours(page, "Errors")
    assert list(colours) == list(masks)
    for name, mask in masks.items():
        assert colour_where(drawn, mask & inside) == colour_where(panel, mask & inside) == colours[name], name
    assert len(set(colours.values())) == 3


def test_classes_have_the_same_colours_in_a_report_and_in_a_figure(volumes, volume_page, tmp_path, monkeypatch):  # noqa: F811
    case = shown_case(volume_page)
    task, view, prediction = read_case(volumes[0], 3, case)
    labelled = int((view.label > 0).sum(axis=(0, 1)).argmax())
    worst = worst_slice(view.label, prediction)
    across = view.window[:2]
    label, predicted = (np.rot90(values[(*across, worst)]) for values in (view.label, prediction))
    drawn = thumbnail(volume_page, f"case {case}", "Prediction", label.shape)
    panel = figure_panels(volumes, case, tmp_path, monkeypatch)["Label"]
    assert (panel.outline == np.rot90(view.label[(*across, labelled)])).all()
    colours = key_colours(volume_page, "Label and prediction")
    assert list(colours) == list(task.classes[1:])
    for index, name in enumerate(task.classes[1:], start=1):
        assert colour_where(panel.picture, panel.outline == index) == colours[name], name
        if (predicted == index).any():
            assert colour_where(drawn, predicted == index) == colours[name], name
    errors = thumbnail(volume_page, f"case {case}", "Errors", label.shape)
    wrong = (label > 0) & (predicted > 0) & (label != predicted)
    assert colour_where(errors, wrong) == key_colours(volume_page, "Errors")["another class"]


def test_an_input_image_is_small_and_drawn_classes_are_stored_without_loss(page):  # noqa: F811
    contents = [one.attributes["src"].partition(",")[2] for one in page.section("worst").find_all("img")]
    chunks = [base64.b64decode(content)[12:16] for content in contents[:4]]
    assert chunks == [b"VP8 ", b"VP8L", b"VP8L", b"VP8L"]


def test_the_slice_shown_holds_much_of_the_label():
    label = np.zeros((4, 4, 3), dtype=np.uint8)
    label[:2, :, 1], label[:, :, 2] = 1, 1
    predicted = np.ones_like(label)
    assert worst_slice(label, predicted) == 1, "slice 0 is all wrong and shows no label"
