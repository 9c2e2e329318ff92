"""Strata, groups and lists of cases from CSV and TSV files."""

from pathlib import Path

import pytest

from .conftest import Error, Load
from .test_grammar import write_files


class TestTables:
    TABLE = (
        'images = "i/{case}.png"\n'
        'strata = { file = "t.tsv", id = "ID", column = "Group", map = { Yes = "old", No = "new" } }'
    )

    @pytest.fixture(autouse=True)
    def images(self, tmp_path: Path) -> None:
        write_files(tmp_path, "i/a.png", "i/b.png")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("separator", [",", "\t", ", "])
    def test_in_the_forms_that_spreadsheets_save(
        self, load: Load, tmp_path: Path, encoding: str, separator: str
    ) -> None:
        rows = (("Note", "ID", "Group"), ("é", "a", "yes"), ("", "", ""), ("", "b", "NO "), ("", "b", "no"))
        text = "\r\n".join(separator.join(row) for row in rows)
        (tmp_path / "t.tsv").write_text(text, encoding=encoding)
        assert [case.stratum for case in load(self.TABLE).cases] == ["old", "new"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("ID,Group\na,yes\na,no\n", "two rows contradict each other on 'a': 'old' and 'new'"),
            ("ID,Group\na,perhaps\n", "'a' has Group 'perhaps'; expected one of Yes, No"),
            ("ID,Group\na,yes\n", "t.tsv has no row for case 'b'"),
            ("ID,Class\na,yes\n", "needs the columns ID and Group, separated by commas or tabs; it has ID, Class"),
            ("", "it has none"),
            ("ID,Group,Group\na,yes,no\nb,no,no\n", "t.tsv has 2 columns Group: rename all but the right one"),
        ],
    )
    def test_faults_are_named(self, error: Error, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "t.tsv").write_text(text)
        assert message in error(self.TABLE)

    def test_groups_from_a_column(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "g.csv").write_text("id,group\na,p1\nb,p1\n")
        assert [case.group for case in load('images = "i/{case}.png"\ngroups = "g.csv"').cases] == ["p1", "p1"]

    def test_strata_from_a_field_and_a_map(self, load: Load, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "s/A_2017/x.png", "s/B_2021/y.png")
        table = 'images = "s/{stratum}/{case}.png"\nstrata.map = { A_2017 = "a", B_2021 = "b" }'
        assert [case.stratum for case in load(table).cases] == ["a", "b"]
        message = error(table.replace("B_2021", "B_2020"))
        assert "unknown stratum in" in message
        assert "'B_2021': did you mean 'B_2020'?" in message

    def test_only_the_cases_that_a_list_names(self, load: Load, error: Error, tmp_path: Path) -> None:
        write_files(tmp_path, "i/nested/c.png", "l/a.png", "l/z.png")
        table = 'images = "i/**/{case}.png"\nlabels = "l/{case}.png"\nonly = { file = "l.csv", column = "image" }'
        (tmp_path / "l.csv").write_text(
            "image,mask\ni/a.png,x\nq,x\n"
        )  # b and c have no label, and are not asked for
        domain = load(table)
        assert ([case.id for case in domain.cases], domain.missing) == (["a"], ("q",))
        (tmp_path / "l.csv").write_text("image\na\n")
        assert [case.id for case in load(table).cases] == ["a"]
        (tmp_path / "l.csv").write_text("image\na.jpg\n")
        assert "l.csv lists no image: its column image has 'a.jpg', and the first image is" in error(table)
        (tmp_path / "l.csv").write_text("image\n")
        assert "l.csv lists nothing in its column image" in error(table)
