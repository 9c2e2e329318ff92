"""Folders of nnU-Net v2 and lists of the Decathlon."""

import json
from pathlib import Path

from .conftest import Error, Load
from .test_grammar import write_files


def write_nnunet(root: Path, **description: object) -> str:
    write_files(root, "D1/imagesTr/a_0000.nii.gz", "D1/imagesTr/a_0001.nii.gz", "D1/labelsTr/a.nii.gz")
    write_files(root, "D1/imagesTs/z_0000.nii.gz", "D1/imagesTs/z_0001.nii.gz")
    (root / "D1/dataset.json").write_text(json.dumps({"file_ending": ".nii.gz", **description}))
    return 'nnunet = "D1"'


class TestListed:
    def test_a_folder_of_nnunet(self, load: Load, error: Error, tmp_path: Path) -> None:
        table = write_nnunet(tmp_path)
        [case] = load(table, ndim=3, channels=2, role="source").cases
        assert (case.id, case.image.name, case.channels[0].name) == ("a", "a_0000.nii.gz", "a_0001.nii.gz")
        assert case.label == tmp_path / "D1/labelsTr/a.nii.gz"
        for second in ("[1]", '["0001"]'):
            [case] = load(f"{table}\nchannels = {second}", ndim=3, role="source").cases
            assert (case.image.name, case.channels) == ("a_0001.nii.gz", ())
        [case] = load(f'{table}\nsplit = "test"', ndim=3, channels=2).cases
        assert (case.id, case.label) == ("z", None)
        write_files(tmp_path, "D1/labelsTs/z.nii.gz")
        assert load(f'{table}\nsplit = "test"', ndim=3, channels=2).cases[0].label is not None
        assert "did you mean 'test'?" in error(f'{table}\nsplit = "tests"', ndim=3, channels=2)

    def test_a_folder_of_another_version(self, error: Error, tmp_path: Path) -> None:
        write_nnunet(tmp_path)
        (tmp_path / "D1/dataset.json").write_text('{"training": []}')
        assert "dataset.json has no file_ending: it is not of nnU-Net v2" in error('nnunet = "D1"', ndim=3)
        assert "there is no " in error('nnunet = "D2"', ndim=3)

    def test_nnunets_description_is_no_decathlon_list(self, error: Error, tmp_path: Path) -> None:
        write_nnunet(tmp_path)
        assert "write nnunet = 'D1'" in error('decathlon = "D1/dataset.json"', ndim=3)

    def test_names_in_a_list_and_on_disk_are_one_in_either_unicode(self, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "T̈/i/ö.nii.gz", "T̈/l/ö.nii.gz")
        entry = {"image": "./i/ö.nii.gz", "label": "./l/ö.nii.gz"}
        (tmp_path / "T̈/d.json").write_text(json.dumps({"training": [entry]}))
        [case] = load('decathlon = "T̈/d.json"', ndim=3, role="source").cases
        assert (case.id, case.image) == ("ö", tmp_path / "T̈/i/ö.nii.gz")

    def test_a_decathlon_list_from_windows_and_an_entry_twice(self, load: Load, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "T/imagesTr/a.nii.gz", "T/labelsTr/a.nii.gz")
        entry = {"image": ".\\imagesTr\\a.nii.gz", "label": "labelsTr\\a.nii.gz"}
        table = 'decathlon = "T/dataset.json"'
        (tmp_path / "T/dataset.json").write_text(json.dumps({"training": [entry]}))
        [case] = load(table, ndim=3, role="source").cases
        assert (case.id, case.label) == ("a", tmp_path / "T/labelsTr/a.nii.gz")
        (tmp_path / "T/dataset.json").write_text(json.dumps({"training": [entry, entry]}))
        assert "lists case 'a' twice" in error(table, ndim=3)
