import json
from pathlib import Path
from typing import Any

import pytest

from ssdg.datasets.base import DataError, Domain
from ssdg.datasets.grammar import task_from_toml

HEAD = """
name = "polyps"
ndim = 2
channels = 3
classes = ["background", "polyp"]
shape = [64, 96]
"""
HEAD_3D = HEAD.replace("ndim = 2", "ndim = 3").replace("[64, 96]", "[16, 16, 16]")
PAIRS = """
[source.here]
images = "here/images/*.png"
labels = "here/labels/*.png"
label_map = { 0 = 0, 255 = 1 }
[target.there]
images = "there/*.png"
"""


def write_files(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def load(root: Path, text: str, name: str = "here") -> Domain:
    file = root / "task.toml"
    file.write_text(text)
    return task_from_toml(file).domain(name)(root)


def error(root: Path, text: str) -> str:
    with pytest.raises(DataError) as caught:
        load(root, text)
    return str(caught.value)


def test_a_task_of_folder_pairs(tmp_path: Path) -> None:
    write_files(tmp_path, "here/images/b.png", "here/images/a.png", "here/images/._a.png", "there/x.png")
    write_files(tmp_path, "here/labels/a.png", "here/labels/b.png", "here/labels/c.png")
    (tmp_path / "task.toml").write_text(HEAD + PAIRS)
    task = task_from_toml(tmp_path / "task.toml")
    assert (task.name, task.ndim, task.channels, task.source) == ("polyps", 2, 3, "here")
    assert (task.classes, task.shape) == (("background", "polyp"), (64, 96))
    source = task.domain("here")(tmp_path)
    assert [case.id for case in source.cases] == ["a", "b"]
    assert source.cases[0].label == tmp_path / "here/labels/a.png"
    assert source.label_map == {0: 0, 255: 1}
    assert source.missing == ("c",)
    target = task.domain("there")(tmp_path)
    assert target.cases[0].label is None
    assert target.label_map == {0: 0, 1: 1}


def test_absolute_patterns_foregrounds_and_all_optional_keys(tmp_path: Path) -> None:
    away = tmp_path / "away [1]"  # brackets mean something to a pattern, but not in the data root
    write_files(tmp_path, "absolute/a.nii.gz", "absolute/labels/a.nii.gz")
    write_files(away, "masks/a.nii.gz")
    text = (
        HEAD_3D
        + f"""
[source.here]
images = "{tmp_path}/absolute/*.nii.gz"
labels = "{tmp_path}/absolute/labels/*"
foregrounds = "masks/*"
stratum = "rare"
modality = "CT"
source = "our clinic"
licence = "internal"
citation = "us"
published = 3
skull_stripped = false
[target.there]
images = "masks/*"
"""
    )
    away.mkdir(exist_ok=True)
    domain = load(away, text)
    case = domain.cases[0]
    assert case.foreground == away / "masks/a.nii.gz"
    assert case.stratum == "rare"
    assert (domain.modality, domain.source, domain.licence) == ("CT", "our clinic", "internal")
    assert (domain.citation, domain.published, domain.skull_stripped) == ("us", 3, False)


@pytest.mark.parametrize("folder", ["/here/", "./here", "h*", "/nowhere', '/here", "nowhere', 'here"])
def test_folder_is_below_the_data_root_or_absolute(tmp_path: Path, folder: str) -> None:
    write_files(tmp_path, "here/images/a.png", "here/labels/a.png")
    table = PAIRS.replace('"here/', '"').replace("[source.here]", f"[source.here]\nfolder = ['{folder}']")
    text = HEAD + table.replace("'/here", f"'{tmp_path}/here")
    assert load(tmp_path, text).cases[0].image.samefile(tmp_path / "here/images/a.png")


def test_strata_from_a_table(tmp_path: Path) -> None:
    write_files(tmp_path, "here/images/a.png", "here/labels/a.png")
    text = HEAD + PAIRS.replace("label_map", 'strata = "strata.csv"\nlabel_map')
    (tmp_path / "strata.csv").write_text("id,stratum\na, old \n")
    assert load(tmp_path, text).cases[0].stratum == "old"
    (tmp_path / "strata.csv").write_text("id,stratum\nb,old\n")
    assert "strata.csv has no row for case 'a'" in error(tmp_path, text)
    (tmp_path / "strata.csv").write_text("case;group\na;old\n")
    assert "needs the columns id and stratum" in error(tmp_path, text)
    (tmp_path / "strata.csv").unlink()
    assert "cannot read" in error(tmp_path, text)


def write_decathlon(root: Path, **lists: Any) -> str:
    write_files(
        root, "dec/imagesTr/a.nii.gz", "dec/imagesTr/b.nii.gz", "dec/labelsTr/a.nii.gz", "dec/labelsTr/b.nii.gz"
    )
    entries = [
        {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in ("b", "._a", "a")
    ]
    (root / "dec/dataset.json").write_text(json.dumps({"name": "x", "training": entries, "test": [], **lists}))
    return HEAD_3D + '[source.here]\ndecathlon = "dec/dataset.json"\n[target.there]\nimages = "x/*"\n'


def test_a_decathlon_list(tmp_path: Path) -> None:
    domain = load(tmp_path, write_decathlon(tmp_path))
    assert [case.id for case in domain.cases] == ["a", "b"]
    label = domain.cases[1].label
    assert label is not None
    assert label.samefile(tmp_path / "dec/labelsTr/b.nii.gz")


def test_a_decathlon_image_that_is_missing_is_counted_and_a_label_is_an_error(tmp_path: Path) -> None:
    text = write_decathlon(tmp_path)
    (tmp_path / "dec/imagesTr/a.nii.gz").unlink()
    assert load(tmp_path, text).missing == ("a",)
    (tmp_path / "dec/labelsTr/b.nii.gz").unlink()
    assert "case 'b' has no label" in error(tmp_path, text)
    (tmp_path / "dec/imagesTr/b.nii.gz").unlink()
    assert "none of the 2 cases" in error(tmp_path, text)


def test_decathlon_splits(tmp_path: Path) -> None:
    text = write_decathlon(tmp_path, test=["./imagesTr/a.nii.gz"], odd=[{"image": ["a", "b"]}])
    there = text.replace('images = "x/*"', 'decathlon = "dec/dataset.json"\nsplit = "test"')
    assert load(tmp_path, there, "there").cases[0].label is None
    split = '[source.here]\nsplit = "{}"'
    unlabelled = text.replace("[source.here]", split.format("test"))
    assert "a source needs labels" in error(tmp_path, unlabelled)
    near = error(tmp_path, text.replace("[source.here]", split.format("trainig")))
    assert "did you mean 'training'?" in near
    assert "expected one image and one label" in error(tmp_path, text.replace("[source.here]", split.format("odd")))
    (tmp_path / "dec/dataset.json").write_text("{")
    assert "is not JSON" in error(tmp_path, text)
    (tmp_path / "dec/dataset.json").unlink()
    assert "there is no" in error(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("classes =", "clases =", "unknown key in {file}: 'clases': did you mean 'classes'?"),
        ("labels =", "label =", "unknown key in {file}, [source.here]: 'label': did you mean 'labels'?"),
        ('name = "polyps"', 'name = " "', "name has no letter or digit: ' '"),
        ("channels = 3\n", "", "{file}: channels missing"),
        ("ndim = 2", "ndim = 4", "ndim is 2 or 3, not 4"),
        ("ndim = 2", 'ndim = "2"', "ndim is a whole number, not '2'"),
        ("channels = 3", "channels = 0", "channels is at least 1"),
        ("channels = 3", "channels = true", "channels is a whole number, not True"),
        ('"background", "polyp"', '"background"', "classes are two or more different names"),
        ("[64, 96]", "[64, 100]", "shape is 2 multiples of 8"),
        ("[64, 96]", "[64, 96, 96]", "shape is 2 multiples of 8"),
        ("255 = 1", "255 = 2", "label_map: 255 = 2 is not a class; they are 0 to 1"),
        ("255 = 1", "high = 1", "label_map: 'high' is not a whole number"),
        ("255 = 1", "1 = 1, 01 = 0", "label_map: two keys are one number: 0, 1, 01"),
        (
            "label_map",
            "intensity = { window = [-inf, 100.0] }\nlabel_map",
            "window is [low, high], not [-inf, 100.0]",
        ),
        ("label_map", "intensity = { window = [nan, 1] }\nlabel_map", "window is [low, high], not [nan, 1]"),
        ('images = "here', 'decathlon = "x"\nimages = "here', "give one of images, decathlon and nnunet"),
        ('images = "here/images/*.png"', 'decathlon = "x"', "labels does not go with decathlon"),
        ("label_map", "degrees = 0\nlabel_map", "degrees lie between 0 and 360, not 0"),
        (
            "label_map",
            'degrees = "45"\nlabel_map',
            "degrees is a whole number or a number with a decimal point, not '45'",
        ),
        ("label_map", "degrees = 45\nslices = {}\nlabel_map", "degrees are of a camera: they are for pictures"),
        ("label_map", "folder = []\nlabel_map", "folder: one or more names of folders, with wildcards but without"),
        ("label_map", "folder = [1]\nlabel_map", "without {{...}}, not [1]"),
        ("label_map", 'folder = "{case}"\nlabel_map', "without {{...}}, not '{{case}}'"),
        ("here/labels/*.png", "", "labels = '' names nothing"),
        ('images = "here/images/*.png"\nlabels = "here/labels/*.png"', 'nnunet = ""', "nnunet is empty"),
        ("label_map", 'split = "x"\nlabel_map', "split does not go with images"),
        ("label_map", 'stratum = "x"\nstrata = "y"\nlabel_map', "give either stratum or strata"),
        ("[target.there]", "[target.here]", "here is both a source and a target"),
        ('labels = "here/labels/*.png"\n', "", "case 'a' has no label"),
        ("here/images/*", "here/pictures/*", "there is no folder "),
        ("ndim = 2", "ndim =", "is not TOML"),
        ('[target.there]\nimages = "there/*.png"', "[target]", "no [target.NAME] table"),
        ("[target.there]\nimages", "[target]\nimages", "target.images is a table: [target.images]"),
    ],
)
def test_bad_task_files_say_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_files(tmp_path, "here/images/a.png", "here/labels/a.png")
    text = HEAD + PAIRS
    assert old in text
    assert message.format(file=tmp_path / "task.toml") in error(tmp_path, text.replace(old, new))


def test_a_task_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the task file .*absent\.toml"):
        task_from_toml(tmp_path / "absent.toml")


def test_the_example_in_the_documentation_works(tmp_path: Path) -> None:
    from ssdg.datasets import grammar

    assert grammar.__doc__ is not None
    example = grammar.__doc__.split("::\n", 1)[1].split("``docs", 1)[0]
    file = tmp_path / "task.toml"
    file.write_text(example)
    task = task_from_toml(file)
    assert (task.source, list(task.targets)) == ("hospital-a", ["hospital-b"])
