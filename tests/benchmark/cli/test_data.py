"""``bench data verify`` and ``bench data new`` on drawn files."""

import gzip
import io
import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ssdg.benchmark.cli import main
from ssdg.datasets.grammar import task_from_toml

RNG = np.random.default_rng(0)


def data(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture
def verify(phantom_data, tmp_path):
    """`bench data verify` on a copy of the phantoms, whose root is an attribute."""
    root = tmp_path / "data"
    shutil.copytree(phantom_data, root)

    def run(*arguments):
        return data("verify", "--data-root", root, "--results-root", tmp_path / "results", *arguments)

    run.root = root
    return run


def rewrite_affine(path):
    volume = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(volume.dataobj), np.diag([1, 1, 1, 1.0])), path)


def test_every_case_is_prepared_and_nothing_is_written(verify, tmp_path):
    result = verify("phantom2d-a", "phantom3d-b", "--json")
    assert result.exit_code == 0, result.output
    plane, volume = json.loads(result.stdout)
    assert (plane["domain"], plane["cases"], plane["failures"], plane["unlabelled"]) == ("phantom2d-a", 8, {}, 0)
    assert plane["summary"].startswith("  48×48, 8-bit RGB; the network sees 0.")  # noqa: RUF001
    assert "of the foreground: vessel " in plane["summary"]
    assert "voxels of 1.5×1.5×1.5 mm, int16" in volume["summary"]  # noqa: RUF001
    assert plane["seconds"] > 0
    assert sorted(path.name for path in (tmp_path / "results").rglob("*.*")) == ["hashes.json"]


def test_a_source_that_no_split_divides_is_refused_and_the_pictures_are_named(verify, tmp_path):
    task = tmp_path / "own.toml"
    head = 'name = "own"\nndim = 2\nchannels = 3\nclasses = ["background", "vessel"]\nshape = [32, 32]\n'
    for role in ("source", "target"):
        head += f"[{role}.{role}]\nlabel_map = {{ 0 = 0, 255 = 1 }}\n"
        head += "".join(f'{key}s = "phantom2d/a/{key}/{{group}}-{{case}}.png"\n' for key in ("image", "label"))
    task.write_text(head)
    result = verify("--task", task, "--pictures", tmp_path / "shown")
    assert result.exit_code == 2
    assert result.stderr.count("source cannot be a source: domain 'source': all cases are of one group, 'a'") == 1
    assert f"are in {tmp_path / 'shown'}\n" in result.stdout
    assert verify("source", "--task", task, "--quick").exit_code == 2
    assert verify("target", "--task", task, "--quick").exit_code == 0


def test_a_picture_that_trains_and_is_held_out_is_refused(verify):
    folder = verify.root / "phantom2d/a/image"
    shutil.copy(folder / "a-01.png", folder / "a-00.png")
    result = verify("phantom2d-a", "--quick")
    assert result.exit_code == 2
    assert (
        "phantom2d-a cannot be a source: 1 of the images of phantom2d-a that train are also held out" in result.output
    )


def test_a_label_on_another_grid_is_found_as_training_would(verify):
    rewrite_affine(sorted((verify.root / "phantom3d/a/label").iterdir())[1])
    quick = verify("phantom3d-a", "--quick")
    assert quick.exit_code == 0, quick.output
    assert "the network sees" not in quick.stdout
    full = verify("phantom3d-a", "phantom3d-b")
    assert full.exit_code == 2
    assert "bench: phantom3d-a: 1 of 4 cases cannot be used:\n  case " in full.stderr
    assert "different affines" in full.stderr
    assert "\nphantom3d-b: " in full.stdout  # the next domain is reported all the same


def test_all_failing_cases_and_domains_are_reported(verify):
    images = sorted((verify.root / "phantom2d/a/image").iterdir())
    for path in images[1:3]:
        path.write_bytes(b"")
    shutil.rmtree(verify.root / "phantom2d/c")
    result = verify("phantom2d-c", "phantom2d-a", "phantom2d-b")
    assert result.exit_code == 2
    assert "phantom2d-c: catalogue/phantom2d.toml, [target.phantom2d-c]: there is no folder" in result.stderr
    assert result.stderr.count("is an empty file") == 2
    assert "phantom2d-a: 8 of 8 cases" in result.stdout
    assert "\nphantom2d-b: " in result.stdout
    rows = json.loads(verify("phantom2d-c", "phantom2d-a", "--json").stdout)
    assert "there is no folder" in rows[0]["error"]
    assert list(rows[1]["failures"]) == [path.stem for path in images[1:3]]


def test_without_names_only_what_is_on_disk_can_be_broken(verify):
    shutil.rmtree(verify.root / "phantom3d")
    absent = verify()
    assert absent.exit_code == 0, absent.output
    assert "drive: catalogue/fundus.toml" in absent.stderr
    assert "\nphantom2d-c: " in absent.stdout
    label = next((verify.root / "phantom2d/b/label").iterdir())
    label.unlink()
    broken = verify()
    assert broken.exit_code == 2
    assert f"case '{label.stem}' has no label" in broken.stderr
    assert "\nphantom2d-c: " in broken.stdout


def test_a_class_that_cases_lack_is_counted(verify):
    path = sorted((verify.root / "phantom2d/a/label").iterdir())[0]
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)
    assert "% (not in 1 cases)" in verify("phantom2d-a").stdout


def test_a_draft_goes_through_a_link_and_replaces_no_pipe(bench, tmp_path):
    (tmp_path / "link.toml").symlink_to("own.toml")
    (tmp_path / "own.toml").write_text("old")
    os.mkfifo(tmp_path / "pipe.toml")
    patterns = "phantom2d/a/image/*.png", "phantom2d/a/label/*.png"
    result = new(bench.data, tmp_path / "link.toml", *patterns, "--force")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "link.toml").is_symlink()
    assert "[domain.mine]" in (tmp_path / "own.toml").read_text()
    reader = os.open(tmp_path / "pipe.toml", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert new(bench.data, tmp_path / "pipe.toml", *patterns, "--force").exit_code == 0
        assert b"[domain.mine]" in os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    assert (tmp_path / "pipe.toml").is_fifo()


def test_labels_that_mark_nothing_are_refused_as_a_whole(verify):
    for path in (verify.root / "phantom2d/a/label").iterdir():
        Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)
    result = verify("phantom2d-a")
    assert result.exit_code == 2
    assert "IN NO CASE" in result.stdout
    assert "bench: phantom2d-a: none of 8 labels marks anything" in result.stderr
    assert "cannot be used" not in result.stderr


def test_pictures_of_the_first_and_the_extreme_cases(verify, tmp_path):
    path = sorted((verify.root / "phantom2d/a/label").iterdir())[3]
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)
    result = verify("phantom2d-a", "phantom3d-a", "--pictures", tmp_path / "new/pictures")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "new/pictures").iterdir())
    assert [name.split("-")[2] for name in names] == ["first", "largest", "smallest"] * 2
    assert f"phantom2d-a-smallest-{path.stem}.png" in names
    refused = verify("phantom2d-a", "--quick", "--pictures", tmp_path / "x")
    assert (refused.exit_code, "--quick decodes nothing" in refused.stderr) == (2, True)


def test_an_unknown_domain(verify):
    result = verify("phantom2d-d")
    assert (result.exit_code, "did you mean 'phantom2d-" in result.stderr) == (2, True)


def disc(size=(48, 40), radius=9):
    y, x = np.mgrid[: size[0], : size[1]]
    return (y - size[0] / 2) ** 2 + (x - size[1] / 2) ** 2 < radius**2


def photograph(size=(48, 40)):
    light = RNG.integers(60, 90, (*size, 3)) + np.array([60, 20, 0])
    return (light - 30 * disc(size)[..., None]).astype(np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if path.suffix == ".gz":
        stream = io.BytesIO()
        picture.save(stream, format="PPM")
        path.write_bytes(gzip.compress(stream.getvalue()))
    else:
        picture.save(path, **options)


def save_nifti(path, array, spacing=(1.4, 1.4, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1])), path)


def draw_drive(root):
    for case in range(21, 25):
        save(root / f"DRIVE/training/images/{case}_training.tif", photograph())
        save(root / f"DRIVE/training/1st_manual/{case}_manual1.gif", np.uint8(255) * disc())
        save(root / f"DRIVE/training/mask/{case}_training_mask.gif", np.uint8(255) * disc(radius=19))


def draw_chase(root):
    for case in ("01L", "01R", "02L", "02R"):
        save(root / f"CHASEDB1/Image_{case}.jpg", photograph())
        save(root / f"CHASEDB1/Image_{case}_1stHO.png", disc())  # one bit


def draw_stare(root):
    for case in (1, 2, 77, 324):
        save(root / f"STARE/stare-images/im{case:04}.ppm.gz", photograph())
        save(root / f"STARE/labels-ah/im{case:04}.ah.ppm.gz", np.uint8(255) * disc())


def draw_drishti(root):
    for case in range(4):
        folder = root / "Drishti-GS" / ("Test" if case % 2 else "Training")
        save(folder / f"Images/drishtiGS_{case:03}.jpg", photograph())
        for part, radius in (("OD", 12), ("cup", 6)):
            votes = sum(64 * disc(radius=radius - step).astype(np.int64) for step in range(4)).clip(max=255)
            name = f"drishtiGS_{case:03}"
            save(folder / f"GT/{name}/SoftMap/{name}_{part}segSoftmap.png", votes.astype(np.uint8))


def draw_acdc(root):
    for patient in (1, 2, 30):
        for frame in (1, 12):
            name = f"ACDC/training/patient{patient:03}/patient{patient:03}_frame{frame:02}"
            label = np.repeat(disc()[..., None] * 1 + disc(radius=5)[..., None], 6, axis=2)
            save_nifti(root / f"{name}.nii.gz", (RNG.integers(20, 200, label.shape) + 50 * label).astype(np.int16))
            save_nifti(root / f"{name}_gt.nii.gz", label.astype(np.uint8))


NEW = {  # name -> drawing, arguments, domain's cases, lines of the file, whether `verify` reads it here
    "drive": (
        draw_drive,
        ("DRIVE/training/images/*", "DRIVE/training/1st_manual/*", "--foregrounds", "DRIVE/training/mask/*"),
        4,
        [
            'foregrounds = "DRIVE/training/mask/{case}_training_mask.gif"',
            "label_map = { 0 = 0, 255 = 1 }",
            "channels = 3",
        ],
        True,
    ),
    "chase": (
        draw_chase,
        ("CHASEDB1/*.jpg", "CHASEDB1/*_1stHO.png"),
        4,
        ["label_map = { 0 = 0, 1 = 1 }", "# ? 2 cases begin with Image_01: if that is a patient", "shape = [48, 40]"],
        True,
    ),
    "stare": (
        draw_stare,
        ("STARE/stare-images/*", "STARE/labels-ah/*"),
        4,
        ['labels = "STARE/labels-ah/{case}.ah.ppm.gz"', "label_map = { 0 = 0, 255 = 1 }"],
        False,  # before pictures are unpacked
    ),
    "drishti": (
        draw_drishti,
        ("Drishti-GS/*/Images/*", "Drishti-GS/*/GT/*/SoftMap/*ODseg*", "--labels", "Drishti-GS/*/GT/*/SoftMap/*cup*"),
        4,
        [
            'class = "class-2", at_least = 128 }',
            "# ? grey levels",
            "# ? * stands for folders",
            '"class-1", "class-2"]',
        ],
        False,  # before layers are read
    ),
    "acdc": (
        draw_acdc,
        ("ACDC/training/*/*.nii.gz", "ACDC/training/*/*_gt.nii.gz"),
        6,
        [
            'images = "ACDC/training/{group}/{case:patient???_frame??}.nii.gz"',
            "label_map = { 0 = 0, 1 = 1, 2 = 2 }",
            "shape = [48, 40, 40]  # of the network; the median box of voxels that are no background is 48 x 40 x 6",
            "# ? slices lie 7 times further apart than pixels",
        ],
        True,
    ),
}


def new(root, output, images, labels, *more, name="mine"):
    arguments = ("new", name, "--images", images, "--labels", labels, *more)
    return data(*arguments, "--data-root", root, "--output", output)


@pytest.mark.parametrize(("draw", "arguments", "cases", "lines", "readable"), NEW.values(), ids=NEW)
def test_a_first_task_file(tmp_path, draw, arguments, cases, lines, readable):
    draw(tmp_path / "data")
    file = tmp_path / "mine.toml"
    result = new(tmp_path / "data", file, *arguments)
    assert result.exit_code == 0, result.output
    text = file.read_text()
    for line in lines:
        assert line in text
    task = task_from_toml(file)
    assert list(task.sources) == list(task.targets) == ["mine"]
    domain = task.domain("mine")(tmp_path / "data")
    assert (len(domain.cases), domain.missing) == (cases, ())
    assert f"asks {text.count('# ?')} questions" in result.stdout
    verify, run = (line.split() for line in result.stdout.splitlines()[-2:])
    assert verify[:3] == ["bench", "data", "verify"]
    assert run[:4] == ["bench", "run", "--method", "erm"]
    if readable:
        pictures = verify.index("--pictures") + 1
        verify[pictures] = str(tmp_path / verify[pictures])
        checked = data(*verify[2:], "--results-root", tmp_path / "results")
        assert checked.exit_code == 0, checked.output
        assert len(list((tmp_path / "mine-pictures").glob("mine-*.png"))) >= 2


def test_targets_of_their_own(tmp_path):
    draw_drive(tmp_path)
    draw_chase(tmp_path)
    target = ("--target", "chase", "CHASEDB1/*.jpg", "CHASEDB1/*_1stHO.png")
    result = new(tmp_path, tmp_path / "t.toml", "DRIVE/*/images/*", "DRIVE/*/1st_manual/*", *target)
    assert result.exit_code == 0, result.output
    task = task_from_toml(tmp_path / "t.toml")
    assert (list(task.sources), list(task.targets)) == (["mine"], ["chase"])
    assert task.domain("chase")(tmp_path).label_map == {0: 0, 1: 1}
    assert result.stdout.rstrip().endswith("--target chase")


def test_a_file_is_replaced_by_force_alone(tmp_path):
    draw_chase(tmp_path)
    (tmp_path / "t.toml").write_text("mine")
    arguments = (tmp_path, tmp_path / "t.toml", "CHASEDB1/*.jpg", "CHASEDB1/*_1stHO.png")
    refused = new(*arguments)
    assert (refused.exit_code, (tmp_path / "t.toml").read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert new(*arguments, "--force").exit_code == 0
    assert "[domain.mine]" in (tmp_path / "t.toml").read_text()


@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        (lambda root: (root / "CHASEDB1/Image_02R_1stHO.png").unlink(), {}, "no label for image"),
        (lambda root: (root / "CHASEDB1/Image_02R.jpg").unlink(), {}, "no image for label"),
        (lambda root: save(root / "CHASEDB1/Image_01L_1stHO.png", photograph()), {}, "is in colour"),
        (lambda root: (root / "CHASEDB1/Image_01L.jpg").write_bytes(b"GIF"), {}, "cannot be read as"),
        (lambda _: None, {"images": "CHASEDB/*.jpg"}, "there is no folder"),
        (lambda _: None, {"name": "my data"}, "cannot name a domain"),
        (lambda _: None, {"name": "held-out"}, "cannot name a domain"),
        (lambda root: save_nifti(root / "v/1.nii.gz", np.zeros((4, 4, 4))), {"labels": "v/*"}, "--labels: no file"),
    ],
)
def test_what_cannot_be_drafted_is_refused_by_name_and_nothing_is_written(tmp_path, spoil, options, words):
    draw_chase(tmp_path)
    spoil(tmp_path)
    patterns = {"images": "CHASEDB1/*.jpg", "labels": "CHASEDB1/*_1stHO.png", **options}
    result = new(tmp_path, tmp_path / "t.toml", patterns.pop("images"), patterns.pop("labels"), **patterns)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not (tmp_path / "t.toml").exists()


def drafted(root, images, labels):
    result = new(root, root / "t.toml", images, labels, "--force")
    assert result.exit_code == 0, result.output
    return (root / "t.toml").read_text()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (lambda x: x * 30 - 1000, "window = [-160, 240]"),  # Hounsfield units
        (lambda x: (x - 50) / 20.0, "percentiles = [0.5, 99.5]"),  # z-scored
        (lambda x: x, None),
    ],
)
def test_negative_volumes_need_a_rule(tmp_path, values, expected):
    for case in range(3):
        image = RNG.integers(0, 100, (24, 20, 16))
        save_nifti(tmp_path / f"i/{case}.nii.gz", values(image).astype(np.float32), (1, 1, 1))
        save_nifti(tmp_path / f"l/{case}.nii.gz", np.pad(np.ones((8, 8, 8), np.uint8), ((8, 8), (6, 6), (4, 4))))
    text = drafted(tmp_path, "i/*", "l/*")
    assert ("intensity" in text) == (expected is not None)
    assert (expected or "ndim = 3") in text


@pytest.mark.parametrize(("top", "expected"), [(4095, "bits = 12"), (1000, "bits = 10"), (65535, None)])
def test_bits_in_use_of_wide_pictures(tmp_path, top, expected):
    for case in range(3):
        image = RNG.integers(0, top, (48, 40)).astype(np.uint16)
        image[0, 0] = top
        save(tmp_path / f"i/{case}.png", image)
        save(tmp_path / f"l/{case}.png", np.uint8(1) * disc())
    text = drafted(tmp_path, "i/*", "l/*")
    assert ("intensity" in text) == (expected is not None)
    assert (expected or "channels = 1") in text


@pytest.mark.parametrize(
    ("labels", "mapping", "question"),
    [
        ([1 - disc(), 1 - disc()], "{ 0 = 1, 1 = 0 }", "# ? 1 is the most frequent value on the border"),
        ([disc() * 1, disc() * 255], "{ 0 = 0, 1 = 1, 255 = 1 }", "# ? no file holds both 1 and 255"),
        ([disc() + 254 * disc(radius=4)] * 2, "{ 0 = 0, 1 = 1, 255 = 2 }", "# ? is 255 a class?"),
        ([255 - 127 * disc() - 128 * disc(radius=4)] * 2, "{ 0 = 1, 128 = 2, 255 = 0 }", "# ? 255 is the most"),
    ],
)
def test_values_that_may_mean_something_else_are_asked_for(tmp_path, labels, mapping, question):
    for case, label in enumerate(labels):
        save(tmp_path / f"i/{case}.png", photograph())
        save(tmp_path / f"l/{case}.png", label.astype(np.uint8))
    text = drafted(tmp_path, "i/*", "l/*")
    assert f"label_map = {mapping}" in text
    assert question in text


def test_labels_without_classes(tmp_path):
    for case in range(2):
        save_nifti(tmp_path / f"i/{case}.nii.gz", RNG.random((8, 8, 8)))
        save_nifti(tmp_path / f"l/{case}.nii.gz", RNG.random((8, 8, 8)))
        save(tmp_path / f"p/{case}.png", photograph())
        save(tmp_path / f"q/{case}.png", np.zeros((48, 40), np.uint8))
    for patterns, words in ((("i/*", "l/*"), "are no classes"), (("p/*", "q/*"), "is 0 throughout")):
        result = new(tmp_path, tmp_path / "t.toml", *patterns)
        assert (result.exit_code, words in result.stderr) == (2, True)


def test_at_most_fifty_files_are_decoded(tmp_path):
    for case in range(60):
        save(tmp_path / f"i/{case}.png", photograph((16, 16)))
        save(tmp_path / f"l/{case}.png", np.uint8(1) * disc((16, 16), 4))
    result = new(tmp_path, tmp_path / "t.toml", "i/*", "l/*")
    assert "60 cases; 50 of them were decoded" in result.stdout
    assert "# 50 files hold 0: " in (tmp_path / "t.toml").read_text()


@pytest.mark.real_data
def test_the_label_of_mscmr_that_lies_elsewhere_is_found(real_data, tmp_path):
    task = tmp_path / "t.toml"
    assert new(real_data, task, "MSCMR/images/*", "MSCMR/labels/*").exit_code == 0
    roots = ("--data-root", real_data, "--results-root", tmp_path / "results")
    assert data("verify", "--task", task, "--quick", *roots).exit_code == 0
    task.write_text(task.read_text().replace("{case}", "subject4{case}"))  # two of fifteen: reading all takes seconds
    result = data("verify", "--task", task, *roots)
    assert result.exit_code == 2
    assert "bench: mine: 1 of 2 cases cannot be used:\n  case 3: " in result.stderr


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("images", "labels", "cases"),
    [
        ("CHASEDB1/*.jpg", "CHASEDB1/*_1stHO.png", 28),
        ("STARE/stare-images/*", "STARE/labels-ah/*", 20),
        ("ACDC/training/*/*", "ACDC/training/*/*_gt*", 50),
        ("Drishti-GS/*/Images/*", "Drishti-GS/*/GT/*/*/*ODseg*", 101),
        ("DRIONS-DB/image/*", "DRIONS-DB/groundtruth/*", 109),
    ],
)
def test_published_data_sets_are_drafted(real_data, tmp_path, images, labels, cases):
    result = new(real_data, tmp_path / "t.toml", images, labels)
    assert result.exit_code == 0, result.output
    assert len(task_from_toml(tmp_path / "t.toml").domain("mine")(real_data).cases) == cases


def test_prepare_refuses_an_incomplete_domain_if_asked(phantom_data, tmp_path):
    shutil.copytree(phantom_data / "phantom2d", tmp_path / "data" / "phantom2d")
    (tmp_path / "data/phantom2d/b/image/b-00.png").unlink()
    roots = ("--data-root", tmp_path / "data", "--results-root", tmp_path / "results")
    result = data("prepare", "phantom2d-b", "--strict", *roots)
    assert result.exit_code == 2, result.output
    assert "refused because of --strict" in result.output
