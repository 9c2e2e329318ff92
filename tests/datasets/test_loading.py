"""From files to cases: joins, layers, channels, and what is missing; every message names the way out."""

from pathlib import Path

import pytest

from ssdg.datasets.base import Case, Domain

from .conftest import Error, Load
from .test_grammar import write_files


def named(domain: Domain) -> dict[str, Case]:
    return {case.id: case for case in domain.cases}


class TestJoins:
    def test_by_every_field_that_both_patterns_name(self, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "i/p1/a.png", "i/p2/a.png", "l/p1-a.png", "l/p2-a.png", "m/p1.png", "m/p2.png")
        domain = load(
            'images = "i/{group}/{case}.png"\nlabels = "l/{group}-{case}.png"\nforegrounds = "m/{group}.png"\n'
            'id = "{group}-{case}"'
        )
        for case in domain.cases:
            assert case.label is not None
            assert case.foreground is not None
            names = (case.label.name, case.foreground.name)
            assert (case.id, *names) == (f"{case.group}-a", f"{case.group}-a.png", f"{case.group}.png")
        assert [case.group for case in domain.cases] == ["p1", "p2"]

    def test_a_label_without_the_images_group_is_shared_by_case(self, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "i/p1/a.png", "i/p2/b.png", "l/a.png", "l/b.png")
        domain = load('images = "i/{group}/{case}.png"\nlabels = "l/{case}.png"')
        assert {case.id: case.label for case in domain.cases} == {
            "a": tmp_path / "l/a.png",
            "b": tmp_path / "l/b.png",
        }

    def test_one_that_fails_shows_both_files_the_fields_and_the_nearest_id(
        self, error: Error, tmp_path: Path
    ) -> None:
        write_files(tmp_path, "i/IDRiD_01.jpg", "i/IDRiD_02.jpg", "l/IDRiD_01_OD.png", "l/IDRiD_02_OD.png")
        message = error('images = "i/{case}.jpg"\nlabels = "l/{case}.png"')
        assert "[target.d]: case 'IDRiD_01' has no label" in message
        assert f"its image is {tmp_path}/i/IDRiD_01.jpg" in message
        assert f"the nearest is {tmp_path}/l/IDRiD_01_OD.png, whose id is 'IDRiD_01_OD'" in message
        assert "paired by {case}: write around it, in both patterns (images and labels), what differs" in message

    def test_patterns_without_a_common_field_are_refused(self, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.png", "l/x.png")
        message = error('images = "i/{case}.png"\nlabels = "l/{group}.png"')
        assert "'i/{case}.png' and 'l/{group}.png' have no field in common" in message

    def test_images_and_labels_in_one_folder(self, load: Load, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "f/a.png", "f/a_mask.png")
        message = error('images = "f/{case}.png"\nlabels = "f/{case}_mask.png"')
        assert f"both the pattern of images and that of labels match {tmp_path}/f/a_mask.png: narrow" in message
        assert set(named(load('images = "f/{case:?}.png"\nlabels = "f/{case}_mask.png"'))) == {"a"}
        domain = load('images = "f/{case}_mask.png"\nlabels = "f/{case}.png"')
        assert (set(named(domain)), domain.missing) == ({"a"}, ())

    def test_two_files_for_a_case(self, error: Error, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "i/s1/a.png", "i/s2/a.png")
        message = error('images = "i/{stratum}/{case}.png"')
        assert f"two files for case 'a': {tmp_path}/i/s1/a.png and {tmp_path}/i/s2/a.png" in message
        assert set(named(load('images = "i/{stratum}/{case}.png"\nid = "{stratum}_{case}"'))) == {"s1_a", "s2_a"}
        write_files(tmp_path, "j/a.png", "l/a.png", "l/a.gif")
        assert "two files for case 'a'" in error('images = "j/{case}.png"\nlabels = "l/{case}.*"')

    def test_accents_composed_in_one_name_and_apart_in_the_other(self, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "i/Jos\u00e9.png", "l/Jose\u0301.png")
        (tmp_path / "t.csv").write_text("id,stratum\nJose\u0301,old\n")
        [case] = load('images = "i/{case}.png"\nlabels = "l/{case}.png"\nstrata = "t.csv"').cases
        assert (case.id, case.stratum) == ("Jos\u00e9", "old")
        assert case.label == tmp_path / "l/Jose\u0301.png"

    def test_one_name_in_both_spellings_is_two_files_for_a_case(self, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "i/Jos\u00e9.png", "i/Jose\u0301.png")
        assert "two files for case 'Jos\u00e9'" in error('images = "i/{case}.png"')

    @pytest.mark.parametrize("template", ["{group}", "{case}-{channel}", "{cse}"])
    def test_an_id_names_the_case_by_fields_that_exist(self, error: Error, template: str) -> None:
        assert "id is built of {case}, {group} and {stratum}" in error(
            f'images = "i/{{case}}.png"\nid = "{template}"'
        )

    def test_an_id_with_a_field_that_the_images_lack(self, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.png")
        assert "images = 'i/{case}.png' has no {group}, of which id" in error(
            'images = "i/{case}.png"\nid = "{group}-{case}"'
        )


class TestLayers:
    LAYERS = (
        'images = "i/{case}.png"\n'
        'labels = [{ path = "o/{case}.png", class = "organ", values = [1, 255] }, '
        '{ path = "t/{case}.png", class = "lesion", at_least = 0.5 }]'
    )

    def test_lie_over_each_other_in_the_order_of_the_list(self, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.png", "o/a.png", "t/a.png")
        domain = load(self.LAYERS)
        [case] = domain.cases
        assert (case.label, case.label_layers) == (tmp_path / "o/a.png", (tmp_path / "t/a.png",))
        rules = [(layer.class_index, layer.at_least, layer.values) for layer in domain.layers]
        assert rules == [(1, None, (1, 255)), (2, 0.5, ())]
        assert [path.parent.name for path in case.files] == ["i", "o", "t"]

    def test_a_case_needs_all_of_them(self, error: Error, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.png", "i/b.png", "o/a.png", "o/b.png", "t/b.png")
        assert "case 'a' has no label (of several layers one that marks nothing is a file" in error(self.LAYERS)
        (tmp_path / "t/b.png").unlink()
        optional = f'{self.LAYERS}\noptional = ["labels"]'
        assert f"no files match labels = '{tmp_path}/t/{{case}}.png', and other labels exist" in error(optional)
        for name in ("o/a.png", "o/b.png"):
            (tmp_path / name).unlink()
        domain = load(optional)
        assert (domain.layers, [case.label for case in domain.cases]) == ((), [None, None])


class TestChannels:
    NAMES = ("c1/a_t1.png", "c1/a_flair.png", "c1/a_t2.png")
    TABLE = 'images = "c1/{case}_{channel}.png"\n'

    def test_are_in_the_order_that_the_table_lists(self, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, *self.NAMES, "l/a.png")
        [case] = load(f'{self.TABLE}channels = ["t2", "t1"]\nlabels = "l/{{case}}.png"', channels=2).cases
        assert [path.name for path in (case.image, *case.channels)] == ["a_t2.png", "a_t1.png"]
        assert case.label == tmp_path / "l/a.png"
        [case] = load(self.TABLE, channels=3).cases
        assert [path.name for path in (case.image, *case.channels)] == ["a_flair.png", "a_t1.png", "a_t2.png"]
        [case] = load(f'{self.TABLE}channels = ["t1"]').cases
        assert (case.image.name, case.channels) == ("a_t1.png", ())

    def test_one_that_is_missing_is_named(self, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, *self.NAMES, "c1/b_t1.png")
        message = error(f'{self.TABLE}channels = ["t1", "t2"]', channels=2)
        assert f"case 'b' has no channel t2; one that it has is {tmp_path}/c1/b_t1.png" in message

    def test_their_number_is_the_tasks(self, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, *self.NAMES)
        message = error(self.TABLE, channels=2)
        assert "case 'a' has 3 channels (flair, t1, t2) and the task 2: choose with channels = [...]" in message

    def test_of_slices_count_their_neighbours(self, load: Load, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "v/a_0.nii.gz", "v/a_1.nii.gz", "l/a.nii.gz")
        table = 'images = "v/{case}_{channel}.nii.gz"\nlabels = "l/{case}.nii.gz"\nslices = { neighbours = 1 }'
        assert len(load(table, channels=6, role="domain").cases[0].channels) == 1
        assert "need channels to be a multiple of 3" in error(table, channels=4, role="domain")
        assert "slices are for all domains of a task or for none" in error(table, channels=6)

    def test_of_one_file_are_chosen_by_their_numbers(self, load: Load, tmp_path: Path) -> None:
        write_files(tmp_path, "v/a.nii.gz")
        table = 'images = "v/{case}.nii.gz"\n'
        assert load(f"{table}channels = [3, 0]", ndim=3, channels=2).file_channels == (3, 0)
        assert load(table, ndim=3, channels=2).rules() == {}  # as ever: digests of before are those of now

    @pytest.mark.parametrize(
        ("channels", "ndim", "message"),
        [
            ("[0, 1]", 3, "channels: 2 of a file, and the network has 1"),
            ('["t1"]', 3, "channels: numbers from 0, because no {channel} is in the name of a file"),
            ("[1]", 2, "channels: without {channel} in the name of a file they are for volumes"),
            ("[-1]", 3, "channels: different texts of {channel}, or numbers from 0, not [-1]"),
            ("[]", 3, "channels: different texts of {channel}, or numbers from 0, not []"),
            ("[true]", 3, "channels: different texts of {channel}, or numbers from 0, not [True]"),
            ('["t1", "t1"]', 3, "channels: different texts of {channel}, or numbers from 0, not ['t1', 't1']"),
        ],
    )
    def test_that_cannot_be_chosen(self, error: Error, channels: str, ndim: int, message: str) -> None:
        assert message in error(f'images = "v/{{case}}.nii.gz"\nchannels = {channels}', ndim=ndim)


def test_a_least_value_that_is_no_number_is_refused(error: Error) -> None:
    table = 'images = "i/{case}.png"\nlabels = [{ path = "l/{case}.png", class = "lesion", at_least = nan }]\n'
    assert "at_least is a number, not nan" in error(table)


class TestMissing:
    TABLE = 'images = "i/{case}.png"\nlabels = "l/{case}.png"\n'

    def test_links_to_content_that_is_not_fetched_are_counted(self, load: Load, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.png", "i/b.png", "l/a.png", "l/c.png")
        for name in ("l/b.png", "i/c.png"):
            (tmp_path / name).symlink_to("../.git/annex/gone")
        domain = load(self.TABLE)
        assert ([case.id for case in domain.cases], domain.missing) == (["a"], ("b", "c"))
        for name in ("i/a.png", "l/a.png"):
            (tmp_path / name).unlink()
        assert "none of the 2 cases is complete, for example 'b'" in error(self.TABLE)

    def test_foregrounds_are_optional_only_where_the_table_says_so(
        self, load: Load, error: Error, tmp_path: Path
    ) -> None:
        write_files(tmp_path, "i/a.png", "i/b.png", "l/a.png", "l/b.png")
        table = f'{self.TABLE}foregrounds = "m/{{case}}.png"\n'
        assert "there is no folder" in error(table)
        optional = f'{table}optional = ["foregrounds"]'
        assert [case.foreground for case in load(optional).cases] == [None, None]
        write_files(tmp_path, "m/a.png")
        assert "case 'b' has no foreground mask" in error(optional)

    def test_a_source_needs_labels_and_a_target_does_not(self, load: Load, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.png")
        assert load('images = "i/{case}.png"').cases[0].label is None
        assert "a source needs labels" in error('images = "i/{case}.png"', role="source")

    @pytest.mark.parametrize("only", ["", 'only = "list.csv"\n'])
    def test_one_of_another_kind_among_others_is_named_and_a_note_is_none(
        self, load: Load, error: Error, tmp_path: Path, only: str
    ) -> None:
        names = ("i/1.png", "i/1.json", "i/2.png", "i/3.json", "l/1.png", "l/2.png", "l/3.png")
        write_files(tmp_path, *names, "i/x.webp")
        (tmp_path / "list.csv").write_text("id\n1\n2\n3\n")
        table = f'images = "i/{{case}}.*"\nlabels = "l/{{case}}.*"\n{only}'
        domain = load(table)
        assert (sorted(named(domain)), domain.missing) == (["1", "2"], ("3",))
        write_files(tmp_path, "i/3.webp")
        assert "i/3.webp is not of a type that is read here: .png" in error(table)
        (tmp_path / "i/3.webp").rename(tmp_path / "i/3.png")
        (tmp_path / "l/3.png").rename(tmp_path / "l/3.webp")
        assert "l/3.webp is not of a type that is read here: .png" in error(table)

    def test_files_of_another_kind_are_named(self, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.dcm")
        assert "a.dcm is not of a type that is read here: .png" in error('images = "i/{case}.*"')
        assert "here: .nii.gz, .nii" in error('images = "i/{case}.*"', ndim=3)
