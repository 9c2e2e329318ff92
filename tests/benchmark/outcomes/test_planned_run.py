"""What a suite asks for against what is on disk."""

from dataclasses import replace

import pytest

from ssdg.benchmark.outcomes.planned_run import match_plan
from ssdg.benchmark.storage.results_reader import scan
from ssdg.benchmark.storage.run_folder import VALIDATION
from ssdg.benchmark.suites.suite import Column, Filters, Row, Suite
from ssdg.benchmark.task_digests import regions_digest

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


def test_scores_in_regions_of_another_definition_do_not_count(tmp_path):
    task = replace(INVENTORY.task("fundus"), regions={"all": ("vessel",)})
    inventory = replace(INVENTORY, tasks={**INVENTORY.tasks, "fundus": task})
    [planned] = SUITE.plan(Filters(targets=("lesav",)), inventory).runs
    write_run(tmp_path, planned.request, dict.fromkeys((VALIDATION, "lesav"), cases(0.5)))
    [before] = match_plan([planned], scan(tmp_path)[0])[0]
    assert before.state_of("lesav") == "QUEUED"
    scores = dict.fromkeys((VALIDATION, "lesav"), cases(0.6))
    write_run(tmp_path, planned.request, scores, regions=regions_digest(task))
    [after] = match_plan([planned], scan(tmp_path)[0])[0]
    assert after.state_of("lesav") == "DONE"
    assert after.evaluation("lesav").regions == regions_digest(task)
