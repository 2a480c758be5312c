"""Several machines by the command line."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoresearch import jsonable
from autoresearch.errors import UsageError
from autoresearch.files import write_atomic
from autoresearch.fleet.address import FleetAddress
from autoresearch.fleet.admission import Welcome
from autoresearch.fleet.pool import Known
from autoresearch.loop.commands import fleet
from autoresearch.paths import fleet_key, fleet_state, member_key
from autoresearch.records import TaskFacts
from autoresearch.tasks.gpt.data import delivery
from testbed.bounded import finished
from testbed.toy import ROOT, git, write_own_data

TASK = """\
edit = ["fast.py"]
run = "python fast.py"
timeout_s = 20
[metric]
name = "wall_s"
from = "wall"
scale = "log"
"""


def test_what_is_no_fleet_s_address_is_refused(tmp_path: Path) -> None:
    for line in (None, "10.0.0.5:8786"):
        with pytest.raises(UsageError, match="autoresearch://"):
            fleet.join(tmp_path, Namespace(address=line, task=None))


def test_the_members_are_listed_while_a_fleet_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no fleet runs from here"):
        fleet.machines(tmp_path, Namespace())
    state = {"members": [["mini", "apple-m4-10gpu-16gb"], ["mini", "apple-m1-8gpu-8gb"]], "t": time.time()}
    fleet_state(tmp_path).parent.mkdir()
    write_atomic(fleet_state(tmp_path), jsonable.to_json(state))
    assert fleet.machines(tmp_path, Namespace()) == 0
    out = capsys.readouterr().out
    assert out.startswith("mini  apple-m1-8gpu-8gb\nmini  apple-m4-10gpu-16gb\n2 members, ")
    write_atomic(fleet_state(tmp_path), jsonable.to_json({**state, "t": time.time() - 3600}))
    with pytest.raises(UsageError, match="no fleet runs from here"):
        fleet.machines(tmp_path, Namespace())


def test_a_fleet_that_has_not_ended_keeps_tag_and_key_for_the_user_alone(tmp_path: Path) -> None:
    assert fleet.unfinished(tmp_path) is None
    fleet.remember(tmp_path, "nov27", "secret")
    assert fleet.unfinished(tmp_path) == fleet.NightKey("nov27", "secret")
    assert fleet_key(tmp_path).stat().st_mode & 0o777 == 0o600
    write_atomic(fleet_key(tmp_path), b"[")
    assert fleet.unfinished(tmp_path) is None


@pytest.mark.parametrize(("stop", "kept"), [(None, False), ("", False), ("terminated", True)])
def test_a_membership_ends_with_the_fleet_or_by_ctrl_c_and_not_with_a_shutdown(
    tmp_path: Path, stop: str | None, kept: bool
) -> None:
    where = FleetAddress("10.0.0.5", 8786, "k" * 20)
    with contextlib.suppress(KeyboardInterrupt), fleet.membership(tmp_path, where):
        assert member_key(tmp_path).stat().st_mode & 0o777 == 0o600
        if stop is not None:
            raise KeyboardInterrupt(stop)
    assert member_key(tmp_path).exists() == kept
    assert kept or not fleet.rejoin(tmp_path, Namespace(task=None))


def test_a_newcomer_is_listed_with_what_it_does() -> None:
    mini = Known("mini", "1f", "Apple M4", "apple-m4-10gpu-16gb")
    assert fleet._work_of(mini) == "newcomer: runs the baseline to be compared with apple-m4-10gpu-16gb"
    assert fleet._work_of(replace(mini, key="apple-m4-10gpu-16gb-mini")) == "apple-m4-10gpu-16gb-mini"


def test_a_machine_keeps_its_number(tmp_path: Path) -> None:
    first = fleet.own_id(tmp_path / "cache" / "member-id")
    assert re.fullmatch("[0-9a-f]{16}", first) and fleet.own_id(tmp_path / "cache" / "member-id") == first
    (tmp_path / "cache" / "member-id").write_bytes(b"\xff")
    assert fleet.own_id(tmp_path / "cache" / "member-id") != first


@pytest.mark.parametrize(("asked", "copied"), [("old", "old"), ("new", "new"), ("other", "new")])
def test_a_member_renews_its_copy_of_the_harness_where_the_coordinator_s_is_another(
    tmp_path: Path, asked: str, copied: str
) -> None:
    copy = tmp_path / "runs" / "member" / "harness"
    write_atomic(copy / "prepare.py", b"old")

    def open_it() -> Any:
        if not copy.exists():
            write_atomic(copy / "prepare.py", b"new")
        return SimpleNamespace(versions={"harness": (copy / "prepare.py").read_text()})

    task = fleet.agreeing(Welcome(TaskFacts(), {"harness": asked}), copy, open_it)
    assert task.versions == {"harness": copied}


def test_where_the_text_lies_is_not_told_to_members(tmp_path: Path) -> None:
    task: Any = SimpleNamespace(facts=TaskFacts(source="/home/me/notes (2 files)", fingerprint="5f"), versions={})
    assert fleet._welcome(task, None) == Welcome(TaskFacts(fingerprint="5f"), {})
    parcel = delivery.parcel(write_own_data(tmp_path / "data" / "notes-1f0c39ae" / "tiny"))
    assert parcel is not None and fleet._welcome(task, parcel).manifest == parcel.manifest


@pytest.mark.slow
def test_a_fleet_of_one_researches_a_declared_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tmp_path / "task"
    task.mkdir()
    (task / "task.toml").write_text(TASK)
    (task / "fast.py").write_text("import time\nDELAY_MS = 40\ntime.sleep(DELAY_MS / 1000)\n")
    git(task, "init", "-qb", "main")
    git(task, "add", "-A")
    git(task, "-c", "user.name=P", "-c", "user.email=p@example.org", "commit", "-qm", "start")
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--fleet", "--fleet-host", "127.0.0.1", "--fleet-port", str(port), "--experiments", "2", "--tag", "n"]
    argv = [sys.executable, str(ROOT / "loop.py"), "--task", str(task), *options, "--proposer", "tuner"]
    said = finished(argv, tmp_path, limit_s=200)
    assert re.search(r"join 'autoresearch://127\.0\.0\.1:\d+#[\w-]{20,}' --task ", said)
    assert " joined: " in said and "stopped: " in said and "experiments done" in said
    assert git(task, "branch", "--list", "autoresearch/n-*").strip()
    assert not fleet_state(task / ".autoresearch").exists()
