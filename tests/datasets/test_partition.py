from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssdg.datasets import partition
from ssdg.datasets.base import Case, DataError, Domain
from ssdg.datasets.partition import choose, folds, held_out, read_split


def domain_of(cases: dict[str, str], name: str = "mine", label: Path | None = Path("label.png")) -> Domain:
    listed = tuple(Case(id, Path("image.png"), label, None, stratum) for id, stratum in sorted(cases.items()))
    return Domain(name, "photograph", listed, {0: 0}, "nowhere", "none")


SOURCES = {
    "drive": [str(number) for number in range(21, 41)],
    "gholipour": [f"HarvardSTA{week}" for week in range(21, 39)],
    "phantom2d-a": [f"a-{number:02d}" for number in range(16)],
    "phantom3d-a": [f"a-{number:02d}" for number in range(8)],
}


@pytest.mark.parametrize(("name", "count"), [("drive", 4), ("gholipour", 2), ("phantom2d-a", 4), ("phantom3d-a", 2)])
def test_committed_lists_name_published_cases(name: str, count: int) -> None:
    chosen = held_out(domain_of(dict.fromkeys(SOURCES[name], "all"), name))
    assert len(chosen) == count
    assert set(chosen) <= set(SOURCES[name])


@pytest.mark.parametrize("name", ["drive", "gholipour"])
def test_committed_lists_follow_the_rule(name: str) -> None:
    domain = domain_of(dict.fromkeys(SOURCES[name], "all"), name)
    assert held_out(domain) == choose(domain.cases, len(held_out(domain)))


def test_the_atlases_hold_out_a_tenth_from_every_family() -> None:
    cases = dict.fromkeys(SOURCES["gholipour"], "gholipour")
    cases |= {f"Chinese{week}": "wu" for week in range(22, 36)}
    cases |= {f"fetal_SB_atlas_GA{week}_operated": "fidon" for week in range(25, 35)}
    cases |= {f"fetal_SB_atlas_GA{week}_notoperated": "fidon" for week in range(21, 26)}
    domain = domain_of(cases, "atlases")
    assert len(domain.cases) == 47
    chosen = held_out(domain)
    assert Counter(cases[id] for id in chosen) == {"gholipour": 2, "wu": 1, "fidon": 2}
    assert chosen == choose(domain.cases, 5)
    assert "Chinese35" not in chosen


def test_ids_of_a_list_that_are_not_on_disk_are_passed_over() -> None:
    present = {id: "all" for id in SOURCES["drive"] if id != "23"}
    assert held_out(domain_of(present, "drive")) == ("28", "29", "39")


@pytest.mark.parametrize(("ids", "state"), [(("1", "2"), "none"), (("28", "29"), "all")])
def test_a_list_that_leaves_nothing_is_an_error(ids: tuple[str, ...], state: str) -> None:
    with pytest.raises(DataError, match=rf"drive\.txt names {state} of the 2 cases"):
        held_out(domain_of(dict.fromkeys(ids, "all"), "drive"))


def test_without_a_fold_a_list_that_leaves_nothing_gives_way_to_the_rule() -> None:
    domain = domain_of(dict.fromkeys(SOURCES["phantom3d-a"], "all"), "phantom3d-a")
    for fold in folds(domain, 2):
        rest = replace(domain, cases=tuple(case for case in domain.cases if case.id not in fold))
        chosen = held_out(rest, whole=False)
        listed = set(held_out(domain)) - set(fold)
        assert chosen == (tuple(sorted(listed)) if listed else choose(rest.cases, 1))


def test_every_list_is_read_by_some_domain() -> None:
    files = {path.stem for path in (Path(partition.__file__).parent / "splits").glob("*.txt")}
    assert files == {*SOURCES, "atlases"}


def test_comments_and_blank_lines_are_no_ids(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("# how it was made\n\nSTAR 01_OSC\n  b \n")
    assert read_split(file) == {"STAR 01_OSC", "b"}


@pytest.mark.parametrize(("count", "expected"), [(2, 1), (5, 1), (10, 2), (22, 4)])
def test_the_rule_holds_out_a_fifth_and_at_least_one(count: int, expected: int) -> None:
    assert len(held_out(domain_of({f"case{index}": "all" for index in range(count)}))) == expected


def test_the_rule_is_fixed_for_good() -> None:
    ids = dict.fromkeys("abcdefghij", "all")
    assert held_out(domain_of(ids)) == ("d", "j")


def test_one_case_cannot_be_split() -> None:
    with pytest.raises(DataError, match="has 1 labelled cases"):
        held_out(domain_of({"a": "all"}))
    with pytest.raises(DataError, match="has 0 labelled cases"):
        held_out(domain_of({"a": "all", "b": "all"}, label=None))


strata = st.dictionaries(
    st.text("abcdefgh0123", min_size=1, max_size=6), st.sampled_from("xyz"), min_size=2, max_size=40
)


@given(strata, st.data())
def test_choose_takes_a_fair_share_of_every_stratum(cases: dict[str, str], data: st.DataObject) -> None:
    domain = domain_of(cases)
    count = data.draw(st.integers(1, len(cases)))
    chosen = choose(domain.cases, count)
    assert len(chosen) == len(set(chosen)) == count
    taken = Counter(cases[id] for id in chosen)
    for stratum, size in Counter(cases.values()).items():
        assert abs(taken[stratum] - count * size / len(cases)) < 1


@given(strata, st.data())
def test_folds_cover_every_case_once_and_are_balanced(cases: dict[str, str], data: st.DataObject) -> None:
    count = data.draw(st.integers(2, len(cases)))
    parts = folds(domain_of(cases), count)
    assert sorted(id for part in parts for id in part) == sorted(cases)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for stratum in set(cases.values()):
        sizes = [sum(cases[id] == stratum for id in part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


grouped = st.lists(
    st.tuples(st.sampled_from("xyz"), st.one_of(st.just(""), st.sampled_from("pqrstuv"))), min_size=2, max_size=40
)


def grouped_domain(rows: list[tuple[str, str]]) -> Domain:
    cases = [
        replace(case, stratum=stratum, group=group)
        for case, (stratum, group) in zip(
            domain_of({f"{index:02d}": "" for index in range(len(rows))}).cases, rows, strict=True
        )
    ]
    return replace(domain_of({}), cases=tuple(cases))


def sides_of_groups(domain: Domain, parts: Sequence[Sequence[str]]) -> dict[str, set[int]]:
    """Group -> numbers of the parts that hold a case of it."""
    sides: dict[str, set[int]] = {}
    for case in domain.cases:
        if case.group:
            sides.setdefault(case.group, set()).add(next(n for n, part in enumerate(parts) if case.id in part))
    return sides


def units(rows: list[tuple[str, str]]) -> int:
    return len({group for _, group in rows if group}) + sum(not group for _, group in rows)


@given(grouped)
@example([("x", "p")] * 5 + [("y", "q")] * 5)
@example([("x", "p")] * 5 + [("y", "q")] * 5 + [("y", "r")] * 5)
def test_holding_out_never_cuts_a_group(rows: list[tuple[str, str]]) -> None:
    domain = grouped_domain(rows)
    if units(rows) == 1:
        with pytest.raises(DataError, match="all cases are of one group"):
            held_out(domain)
        return
    held = held_out(domain)
    rest = [case.id for case in domain.cases if case.id not in held]
    sizes = Counter(case.group or case.id for case in domain.cases)
    assert 0 < len(held) <= max(2 * max(1, round(0.2 * len(rows))) - 1, min(sizes.values()))
    assert rest
    assert all(len(sides) == 1 for sides in sides_of_groups(domain, (held, rest)).values())


@given(grouped, st.data())
def test_folds_never_cut_a_group(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    domain = grouped_domain(rows)
    if units(rows) == 1:
        with pytest.raises(DataError, match="cannot be cut into 2 folds"):
            folds(domain, 2)
        return
    parts = folds(domain, data.draw(st.integers(2, units(rows))))
    assert sorted(id for part in parts for id in part) == [case.id for case in domain.cases]
    assert all(parts)
    assert all(len(sides) == 1 for sides in sides_of_groups(domain, parts).values())


def test_folds_do_not_depend_on_the_order_of_cases() -> None:
    domain = domain_of({f"case{index}": "xy"[index % 2] for index in range(9)})
    turned = Domain(domain.name, domain.modality, domain.cases[::-1], {0: 0}, "nowhere", "none")
    assert folds(domain, 3) == folds(turned, 3)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_impossible_folds_are_an_error(count: int) -> None:
    with pytest.raises(DataError, match=f"cannot be cut into {count} folds"):
        folds(domain_of(dict.fromkeys("abc", "all")), count)
