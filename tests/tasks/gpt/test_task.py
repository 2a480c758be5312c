from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.errors import AutoresearchError
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder, Layout
from autoresearch.records import Measurement
from autoresearch.system.sandbox import select
from autoresearch.tasks.gpt.data.prepared import load_meta
from autoresearch.tasks.gpt.task import GptTask
from autoresearch.tasks.task import Task
from testbed.toy import this_machine, write_toy_data


@pytest.fixture
def task(tmp_path: Path) -> GptTask:
    env = {"MLX_DISABLE_COMPILE": "1"}
    data = write_toy_data(tmp_path / "data" / "toy" / "tiny")
    bench = Workbench((), DataFolder(data), 300.0, select(allow_none=True), env=env)
    return GptTask(Layout(tmp_path, "nov23"), bench, load_meta(data), this_machine())


def test_candidates_are_limited_by_the_baseline(task: GptTask) -> None:
    task.limit_candidates([Measurement(1, 1.5, num_steps=700)])  # no start-up that is worth noting
    assert (task.bench.startup_limit_s, task.bench.free_start_s, task.bench.min_steps) == (60.0, 5.0, 8)
    assert task.bench.probe_nats == 1e-3
    seconds = {"startup": 40.0, "warmup": 10.0, "evaluation": 15.0}
    task.limit_candidates([Measurement(1, 1.5, num_steps=30, seconds=seconds, probe_nats=2e-5)])
    assert (task.bench.startup_limit_s, task.bench.free_start_s, task.bench.min_steps) == (105.0, 105.0, 5)
    assert task.bench.probe_nats == pytest.approx(2e-4) and task.bench.evaluation_limit_s == 150.0


def test_training_is_a_task_of_one_file(task: GptTask) -> None:
    the_task: Task = task
    assert the_task.facts.metric.name == "val_bpb" and the_task.facts.budget_s == the_task.run_s == 300.0
    assert the_task.read(lambda path: b"DEPTH = 4\n") == "DEPTH = 4\n"
    assert the_task.files("DEPTH = 4\n") == {"train_mlx.py": b"DEPTH = 4\n"}


def test_a_file_that_is_gone_is_named_with_what_brings_it_back(task: GptTask) -> None:
    with pytest.raises(AutoresearchError, match=r"train_mlx\.py is not there\. Bring it back: git checkout"):
        task.read(lambda path: b"")
