"""Hypotheses from outside are tried before the proposer's next turn, once each, under the rules of any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from autoresearch.errors import JournalError
from autoresearch.loop.research import Limits
from autoresearch.paths import Layout
from autoresearch.record import inbox, journal
from autoresearch.record.events import Refused
from autoresearch.record.inbox import Hypothesis
from autoresearch.record.night import Experiment
from autoresearch.records import Edit, Proposal, Purpose, SearchReplace, Set
from testbed.given import Given, research
from testbed.scripted import Scripted, ScriptedIdea
from testbed.toy import git

pytestmark = pytest.mark.slow

IDEA: ScriptedIdea = ("the proposer's own", (Set("LR", "0.5"),))
GAIN = {1: [1.56, 1.56]}  # against a baseline of 1.60
FORBIDDEN = (SearchReplace("import prepare", "import os\nimport prepare"),)


def hypothesis(id: str, edits: Sequence[Edit] = (Set("LR", "0.02"),)) -> Hypothesis:
    return Hypothesis(id=id, received=1.0, title=f"idea {id}", hypothesis="", category="other", edits=tuple(edits))


def night(root: Path, values: dict[int, list[float]], *posts: Hypothesis, experiments: int) -> tuple[Scripted, Layout]:
    """Run a night whose inbox holds `posts` when it begins."""
    proposer = Scripted(IDEA, ("another of its own", (Set("LR", "0.6"),)))
    r = research(root, values, proposer)
    for one in posts:
        inbox.post(r.notebook.layout, one)
    r.run(Limits(experiments))
    r.notebook.journal.close()
    return proposer, r.notebook.layout


def test_it_comes_before_the_proposers_turn_and_is_judged_as_any_other(repository: Path) -> None:
    proposer, layout = night(repository, {**GAIN, 2: [1.9]}, hypothesis("h1"), experiments=2)
    seen = journal.read(layout)
    tried = [(x.proposal.title, x.proposal.proposer, x.verdict) for x in seen.experiments.values()][1:]
    assert tried == [("idea h1", "inbox", "keep"), ("the proposer's own", "scripted", "discard")]
    assert inbox.waiting(layout) == [] and seen.of_inbox("h1") == seen.experiments[1]
    assert [trial.n for trial in proposer.contexts[0].history] == [1]


REFUSED: dict[str, tuple[Edit, str]] = {  # id -> what is posted, and a part of the reason
    "unknown": (Set("NO_SUCH", "1"), "NO_SUCH"),
    "nowhere": (SearchReplace("this is nowhere", "x"), "nothing in the file is like it"),
    "same": (Set("LR", "0.01"), "changes nothing"),
    "again": (Set("LR", "0.02"), "is experiment 1 again"),
}


def test_what_makes_no_candidate_is_refused_with_the_reason(repository: Path) -> None:
    posts = [hypothesis("h1"), *(hypothesis(id, (edit,)) for id, (edit, _) in REFUSED.items())]
    _, layout = night(repository, {1: [1.9], 2: [1.9]}, *posts, experiments=2)
    for id, (_, why) in REFUSED.items():
        refused = journal.read(layout).of_inbox(id)
        assert isinstance(refused, Refused) and why in refused.why and refused.title == f"idea {id}"
    assert inbox.waiting(layout) == []
    assert [x.proposal.proposer for x in journal.read(layout).experiments.values()][1:] == ["inbox", "scripted"]


def test_what_breaks_the_contract_crashes_and_nobody_is_asked_to_mend_it(repository: Path) -> None:
    proposer, layout = night(repository, {}, hypothesis("h1", FORBIDDEN), experiments=1)
    x = journal.read(layout).experiments[1]
    assert x.verdict == "crash" and "import os" in x.reason and not x.runs
    assert proposer.failures == [] and inbox.waiting(layout) == []


def test_a_damaged_file_or_edit_is_refused_and_the_night_goes_on(repository: Path) -> None:
    r = research(repository, {1: [1.9]}, Scripted(IDEA))
    layout = r.notebook.layout
    layout.inbox.mkdir(parents=True)
    (layout.inbox / "odd.json").write_text("{")
    inbox.post(layout, hypothesis("escape", (Set("LR", "\x1b]0;owned\x07"),)))
    r.run(Limits(1))
    assert {refused.inbox_id for refused in r.night.refused} == {"odd", "escape"}
    assert not any("\x1b" in refused.why for refused in r.night.refused)
    assert r.night.experiments[1].proposal.title == IDEA[0]


def test_a_kill_between_the_journal_and_the_file_tries_nothing_twice(repository: Path) -> None:
    _, layout = night(repository, GAIN, hypothesis("h1"), experiments=1)
    inbox.post(layout, hypothesis("h1"))  # as if its file had not been removed
    with journal.Journal(layout) as again:
        proposal = Proposal((), "a", "b", "other", "inbox", inbox_id="h1")
        fields = {"role": "candidate", "source_sha256": "", "parent_commit": ""}
        with pytest.raises(JournalError, match="h1 of the inbox was taken up before"):
            again.append("proposed", n=2, proposal=proposal, **fields)
        with pytest.raises(JournalError, match="h1 of the inbox was taken up before"):
            again.append("refused", inbox_id="h1", title="t", why="w")


def test_a_file_that_the_journal_knows_is_removed_without_a_run(repository: Path) -> None:
    r = research(repository, {**GAIN, 2: [1.9]}, Scripted(IDEA))
    inbox.post(r.notebook.layout, hypothesis("h1"))
    r.run(Limits(1))
    inbox.post(r.notebook.layout, hypothesis("h1"))
    r.run(Limits(2))
    assert [x.proposal.proposer for x in r.night.experiments.values()][1:] == ["inbox", "scripted"]
    assert inbox.waiting(r.notebook.layout) == []


class Committing(Given):
    """Runner during whose first run of a candidate the person commits another version to the branch."""

    def run(self, n: int, purpose: Purpose, seed: int | None = None) -> Experiment:
        root = self.notebook.layout.root
        if n == 1 and "MINE" not in (file := root / "train_mlx.py").read_text():
            file.write_text(file.read_text() + "\nMINE = 1\n")
            git(root, "commit", "-qam", "my own idea")
        return super().run(n, purpose, seed)


def test_a_keep_that_the_person_came_before_is_tried_again_on_top(repository: Path) -> None:
    r = research(repository, {}, Scripted())
    values = {0: [1.6, 1.61, 1.59], 1: [1.56, 1.56], 2: [1.6, 1.61, 1.59], 3: [1.56, 1.56]}
    r.experimenter.runner = Committing(r.notebook, values)  # type: ignore[assignment]
    inbox.post(r.notebook.layout, hypothesis("h1"))
    r.run(Limits(2))
    tried = [(x.role, x.proposal.title, x.proposal.inbox_id) for x in r.night.experiments.values()]
    assert tried[1] == ("candidate", "idea h1", "h1") and tried[3] == ("candidate", "idea h1", None)
