"""What callers are told of a night: enough to propose, edits that can be posted again, and logs that are files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from autoresearch.candidate import edits
from autoresearch.jsonable import plain
from autoresearch.paths import STATE
from autoresearch.record import inbox
from autoresearch.record.inbox import Hypothesis
from autoresearch.record.journal import Journal
from autoresearch.records import Measurement, Proposal, SearchReplace, Set, WholeFile
from autoresearch.search.llm import replies
from autoresearch.serve import views
from autoresearch.serve.nights import NightReader
from testbed.served import write_live, write_night


@pytest.fixture
def reader(tmp_path: Path) -> NightReader:
    write_night(tmp_path)
    return NightReader(tmp_path)


def test_an_experiment_has_its_diff_and_the_ends_of_its_logs(reader: NightReader) -> None:
    seen = reader.snapshot()
    x = next(x for x in seen.night.experiments.values() if x.verdict == "discard")
    folder = seen.layout.run(x.n, 0)
    folder.mkdir(parents=True)
    (folder / "train.log").write_bytes(b"a" * 30_000 + b"\nthe end\x1b[1m \xff\n")
    (folder / "judge.log").write_text("what is hidden")
    (folder / "link.log").symlink_to("/etc/passwd")
    os.mkfifo(folder / "evaluate.log")
    (folder / "probe.log").mkdir()
    told = views.experiment(seen, x)
    [(name, text)] = told["logs"].items()
    assert name == "run 1, train.log" and text.endswith("\nthe end [1m �\n") and len(text) < 21_000
    assert told["diff"].startswith(f"--- #{x.parent_n}\n+++ #{x.n}\n@@")
    assert replies.parse(told["edits"]).edits == x.proposal.edits
    assert views.experiment(seen, seen.night.experiments[0])["diff"] is None


def test_a_lost_source_spoils_only_its_diff(reader: NightReader) -> None:
    seen = reader.snapshot()
    seen.layout.source(1).unlink()
    assert "its diff cannot be shown: the source of experiment 1 is gone" in str(
        views.experiment(seen, seen.night.experiments[1])["diff"]
    )


def test_edits_that_cannot_be_posted_again_are_left_out() -> None:
    assert views.edit_text((Set("A", "1"),)) == "SET A = 1\n"
    marker = SearchReplace("x", ">>>>>>> REPLACE")
    for change in ((), (WholeFile("x"),), (marker,), (SearchReplace("x", "y" * 5000),)):
        assert views.edit_text(change) is None


def test_a_proposer_is_told_what_to_do_and_what_not_to_repeat(reader: NightReader) -> None:
    seen = reader.snapshot()
    told = json.loads(json.dumps(plain(views.following(seen))))
    incumbent = seen.night.incumbent
    assert incumbent is not None and told["best"]["n"] == incumbent.n
    assert told["best"]["files"] == {"train_mlx.py": seen.source_of(incumbent.n)}
    assert told["directive"]["text"] and told["categories"][0] == "depth" and told["experiment"] == seen.night.next_n
    assert [one["n"] for one in told["tried"]] == [x.n for x in seen.night.decided if x.role == "candidate"]
    edits.apply(told["best"]["files"]["train_mlx.py"], replies.parse("SET ROWS = 77").edits)


def test_a_declared_task_has_its_own_categories_and_brief(tmp_path: Path) -> None:
    write_night(tmp_path / STATE)
    seen = NightReader(tmp_path / STATE).snapshot()
    toml = tmp_path / "task.toml"
    metric = 'metric = { name = "n", from = "gzip:a.css", min_gain = 0.01 }'
    toml.write_text(f'edit = ["a.css"]\nbrief = "b.md"\ncategories = ["values"]\n{metric}\n')
    (tmp_path / "b.md").write_text("Be small.\n")
    told = views.following(seen)
    assert told["categories"] == ("values",) and "DEPTH" not in told["directive"]["text"]
    assert views.program(seen.layout) == "Be small.\n"
    toml.write_text("edit = [")  # a person is in the middle of it
    assert views.following(seen)["categories"] == ("other",) and views.program(seen.layout) == ""


def test_near_misses_are_discards_since_the_last_keep(reader: NightReader) -> None:
    seen = reader.snapshot()
    close = views.near_misses(seen)
    assert all(one["verdict"] == "discard" and one["n"] > (seen.night.incumbent_n or 0) for one in close)


def test_machines_are_told_with_what_they_do(reader: NightReader) -> None:
    [machine] = views.machines(reader.snapshot().night, None)
    assert machine["runs"] > 9 and "Apple M4 Pro" in machine["describe"] and machine["running"] is None
    with Journal(reader.layout()) as journal:
        journal.append("started", n=0, run=9, seed=1, machine="m4", purpose="incumbent")
    assert views.machines(reader.snapshot().night, None)[0]["running"] is None  # no loop: it was cut off
    live = write_live(reader.layout())
    assert views.machines(reader.snapshot().night, live)[0]["running"] == {"experiment": 0, "run": 10}


def test_a_member_of_a_fleet_is_told_with_its_place(reader: NightReader) -> None:
    with Journal(reader.layout()) as journal:
        journal.append("started", n=0, run=9, seed=1, machine="m4", purpose="newcomer")
        journal.append("measured", n=0, run=9, measurement=Measurement(1, 1.5, member="mini"))
        journal.append("placed", member="mini", id="1f", what="a Mac", key="m4", why="0.01 bpb worse")
    found = views.machines(reader.snapshot().night, None)
    assert [(one["member"], one.get("place")) for one in found] == [(None, None), ("mini", "0.01 bpb worse")]


def test_a_hypothesis_has_one_state_at_a_time(reader: NightReader) -> None:
    def states() -> list[str]:
        return [one["status"] for one in views.hypotheses(reader)]

    layout, n = reader.layout(), reader.snapshot().night.next_n
    for id in ("h1", "h2"):
        edit = (Set("DEPTH", "9"),)
        inbox.post(layout, Hypothesis(id=id, received=1.0, title=id, hypothesis="", category="depth", edits=edit))
    (layout.inbox / "odd.json").write_text("{")
    assert states() == ["queued"] * 3
    proposal = Proposal((Set("DEPTH", "9"),), "h1", "", "depth", "inbox", inbox_id="h1")
    with Journal(layout) as journal:
        fields = {"role": "candidate", "source_sha256": "", "parent_commit": "", "parent_n": 0}
        journal.append("proposed", n=n, proposal=proposal, **fields)
        journal.append("refused", inbox_id="h2", title="h2", why="no such constant")
        assert sorted(states()) == ["queued", "refused", "running"]
        journal.append("decided", n=n, verdict="discard", reason="2 sigma worse")
    told = {one["id"]: one for one in views.hypotheses(reader)}
    assert (told["h1"]["status"], told["h1"]["verdict"], told["h1"]["why"]) == ("decided", "discard", "2 sigma worse")
    assert (told["h2"]["status"], told["h2"]["why"]) == ("refused", "no such constant")
    for i in range(2 * inbox.MOST_WAITING):
        (layout.inbox / f"many{i}.json").touch()
    assert len(views.hypotheses(reader)) <= inbox.MOST_WAITING + 2
