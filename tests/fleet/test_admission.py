from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch import jsonable
from autoresearch.fleet.admission import Hello, Welcome, class_of, refusal
from autoresearch.records import TaskFacts
from autoresearch.system import machine
from testbed.toy import this_machine

TASK = TaskFacts(dataset="climbmix", profile="mac", fingerprint="5f2a", budget_s=300.0)
WELCOME = Welcome(TASK, {"mlx": "0.32.4", "python": "3.12.4", "harness": "ab12"})
HELLO = Hello("mini", "1f", this_machine().to_dict(), TASK, {"mlx": "0.32.9", "python": "3.12.1", "harness": "ab12"})


def test_minor_versions_of_python_and_mlx_may_differ_in_their_last_number() -> None:
    assert refusal(WELCOME, HELLO) is None


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (replace(HELLO, versions={**HELLO.versions, "harness": "cd34"}), "harness is cd34 here and ab12 on the coord"),
        (replace(HELLO, versions={**HELLO.versions, "mlx": "0.33.0"}), "mlx is 0.33 here and 0.32 on the coordinator"),
        (replace(HELLO, versions={"mlx": "0.32.4"}), "python is missing here and 3.12 on the coordinator"),
        (replace(HELLO, task=replace(TASK, fingerprint="77")), "the task's fingerprint is 77 here and 5f2a on the"),
        (replace(HELLO, task=replace(TASK, budget_s=60.0)), "the task's budget_s is 60.0 here and 300.0 on the"),
        (replace(HELLO, problem="no sandbox"), "cannot join: no sandbox"),
        (replace(HELLO, lacks_data=True), "cannot join: it does not have the data climbmix, also after it was sent"),
    ],
)
def test_what_would_not_compare_is_refused_with_what_differs(hello: Hello, why: str) -> None:
    assert why in (refusal(WELCOME, hello) or "")


def test_data_of_the_same_content_may_have_another_name() -> None:
    notes = replace(TASK, dataset="notes-1f0c39ae@fleet")
    assert refusal(WELCOME, replace(HELLO, task=notes)) is None
    other = replace(HELLO, task=replace(notes, fingerprint="77"))
    assert "the task's dataset is notes-1f0c39ae@fleet here and climbmix on the" in (refusal(WELCOME, other) or "")
    unknown = replace(WELCOME, task=replace(TASK, fingerprint=None))
    assert "the task's dataset is" in (refusal(unknown, replace(HELLO, task=replace(notes, fingerprint=None))) or "")


def test_a_machine_s_facts_survive_the_way_and_name_its_class() -> None:
    here = this_machine()
    there = machine.Facts.from_dict(jsonable.from_json(Hello, jsonable.to_json(HELLO)).facts)
    assert class_of(there) == class_of(here) == here.slug()
    assert there.cpu_levels == here.cpu_levels and there.gpu == here.gpu
