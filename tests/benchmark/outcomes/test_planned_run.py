"""What a suite asks for against what is on disk."""

import pytest

from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.suite import Column, Filters, Row, Suite

from ..stored import INVENTORY, cases, results_of, write_run

SUITE = Suite(
    name="mine",
    title="Mine",
    columns=tuple(
        Column(task="fundus", source="drive", target=target, label=target) for target in ("lesav", "iostar")
    ),
    rows=(Row(id="erm", method="erm"),),
    seeds=(0,),
)


@pytest.mark.parametrize(
    ("scored", "state"), [((VALIDATION, "lesav", "iostar"), "DONE"), ((VALIDATION, "lesav"), "QUEUED")]
)
def test_a_trained_run_waits_for_the_targets_it_was_never_asked_for(tmp_path, scored, state):
    plan = SUITE.plan(Filters(), INVENTORY).runs
    write_run(tmp_path, plan[0].request, dict.fromkeys(scored, cases(0.5)))
    [item] = results_of(tmp_path, SUITE).planned_runs
    assert item.state == state
    assert item.state_of("lesav") == "DONE"
    assert item.state_of("iostar") == state
