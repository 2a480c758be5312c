from __future__ import annotations

import os
import platform
from functools import partial
from pathlib import Path

import psutil
import pytest

from autoresearch import jsonable
from autoresearch.errors import DataError
from autoresearch.fleet import member
from autoresearch.fleet.admission import Hello, Welcome
from autoresearch.fleet.job import Done, Job
from autoresearch.fleet.member import Member
from autoresearch.records import TaskFacts
from autoresearch.tasks.gpt.data import delivery, prepared
from autoresearch.tasks.gpt.data.delivery import Delivery
from testbed.fleet_member import FACTS, VERSIONS, Waiting
from testbed.toy import write_own_data

WELCOME = jsonable.to_json(Welcome(FACTS, VERSIONS)).decode()


@pytest.fixture
def me(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    made = Member(tmp_path / "runs", lambda welcome: Waiting(tmp_path, 0.0), print, "1f", name="mini")  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(member, "_members", [made])
    return made


def test_it_opens_the_task_and_says_what_it_is_there(me: Member) -> None:
    hello = jsonable.from_json(Hello, member.hello(WELCOME))
    assert hello.task == FACTS and hello.versions == VERSIONS and not hello.problem
    assert hello.facts["cpu_cores"] == me.facts.cpu_cores


def test_a_task_that_does_not_open_is_told(me: Member) -> None:
    def no_data(welcome: Welcome) -> Waiting:
        raise DataError("climbmix is not prepared here")

    me.open_task = no_data  # type: ignore[assignment]
    assert jsonable.from_json(Hello, member.hello(WELCOME)).problem == "climbmix is not prepared here"


def test_without_the_data_of_the_night_it_says_so_and_takes_it(
    me: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    parcel = delivery.parcel(folder := write_own_data(tmp_path / "data" / "notes-1f0c39ae" / "tiny"))
    assert parcel is not None and member.take_piece("train.u16", 0, b"") == "it asked for no data"
    fingerprint = prepared.load_meta(folder).fingerprint
    welcome = Welcome(TaskFacts(fingerprint=fingerprint, profile="tiny"), VERSIONS, parcel.manifest)
    text = jsonable.to_json(welcome).decode()
    me.receive = partial(member.lacking, say=print)
    assert jsonable.from_json(Hello, member.hello(text)).lacks_data and me.task is None
    assert member.take_piece("../x", 0, b"") == "the coordinator sent ../x, which is no file of its data"
    for name in parcel.files:
        assert member.take_piece(name, 0, (folder / name).read_bytes()) == ""
    assert member.keep_data() == ""
    again = jsonable.from_json(Hello, member.hello(text))
    assert not again.lacks_data and not again.problem and me.task is not None


def test_a_description_that_it_cannot_take_is_told(me: Member) -> None:
    me.receive = partial(member.lacking, say=print)
    text = jsonable.to_json(Welcome(FACTS, VERSIONS, "[")).decode()
    told = jsonable.from_json(Hello, member.hello(text))
    assert told.problem.startswith("the coordinator's description of its data cannot be read") and not told.lacks_data


def test_a_run_leaves_its_measurement_and_nothing_else(me: Member) -> None:
    member.hello(WELCOME)
    job = Job(id="n/0001/run-1", fingerprint="w0", source="x", seed=5, purpose="search", role="candidate")
    found = jsonable.from_json(Done, member.measure(job.to_json())).measurement
    assert found.score == 5.0 and found.member == "mini" and found.machine_before is not None
    assert list(me.folder.iterdir()) == []


@pytest.mark.slow
def test_the_machine_stays_awake_during_a_run_and_while_data_arrives(
    me: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / ("caffeinate" if platform.system() == "Darwin" else "systemd-inhibit")
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho awake > {tmp_path}/inhibited\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    member.hello(WELCOME)
    job = Job(id="n/0001/run-1", fingerprint="w0", source="x", seed=5, purpose="search", role="candidate")
    member.measure(job.to_json())
    assert (tmp_path / "inhibited").exists() and not inhibitors()
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    parcel = delivery.parcel(folder := write_own_data(tmp_path / "data" / "notes-1f0c39ae" / "tiny"))
    assert parcel is not None
    me.receive = lambda welcome: Delivery.begin(parcel.manifest, prepared.load_meta(folder).fingerprint, print)
    member.hello(WELCOME)
    assert inhibitors()
    me.receive = lambda welcome: None
    member.hello(WELCOME)
    assert not inhibitors()


def inhibitors() -> list[psutil.Process]:
    """Return the processes that keep the machine awake, in the test above."""
    return [process for process in psutil.Process().children(recursive=True) if process.name() == "sleep"]


def test_dismissed_it_leaves(me: Member, capsys: pytest.CaptureFixture[str]) -> None:
    member.dismiss("the night has ended")
    assert me.over.is_set() and capsys.readouterr().out == "the night has ended\n"
