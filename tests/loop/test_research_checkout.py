"""A night while the person uses the checkout: switches, commits, edits, stashes, renames, resets, deletes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch.loop.research import Limits
from autoresearch.records import Context, Proposal, Set
from testbed.given import research
from testbed.scripted import Scripted, ScriptedIdea, night
from testbed.toy import HONEST, git

pytestmark = pytest.mark.slow

FASTER: ScriptedIdea = ("learn faster", (Set("LR", "0.02"),))
FASTEST: ScriptedIdea = ("learn fastest", (Set("LR", "0.03"),))
ODD: ScriptedIdea = ("learn oddly", (Set("LR", "0.5"),))
GAINS = {1: [1.56, 1.56], 2: [1.53, 1.53], 3: [1.9]}  # against a baseline of 1.60


class Meanwhile(Scripted):
    """Proposer of scripted ideas, before each of which the person does something in the checkout."""

    def __init__(self, *steps: tuple[Callable[[], object], ScriptedIdea]) -> None:
        super().__init__(*(idea for _, idea in steps))
        self.deeds = [deed for deed, _ in steps]

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        if self.deeds:
            self.deeds.pop(0)()
        return super().propose(context, n)


def kept(root: Path, tag: str) -> list[str]:
    """Return the titles of the commits that changed the file on the branch since main, the first at the front."""
    return git(root, "log", "--reverse", "--format=%s", f"main..autoresearch/{tag}", "--", "train_mlx.py").splitlines()


def test_a_person_may_use_the_checkout_all_night(repository: Path) -> None:
    root, file = repository, repository / "train_mlx.py"

    def switch_away() -> None:
        git(root, "switch", "-q", "main")
        assert git(root, "status", "--porcelain") == ""

    def work() -> None:
        (root / "notes.txt").write_text("mine\n")
        git(root, "add", "notes.txt")
        git(root, "commit", "-qm", "notes")
        file.write_text("half an idea\n")
        git(root, "stash", "-q")
        file.unlink()

    r = research(root, GAINS, Meanwhile((switch_away, FASTER), (work, FASTEST), (lambda: None, ODD)))
    r.run(Limits(3))
    assert [x.verdict for x in r.night.experiments.values()] == ["keep", "keep", "keep", "discard"]
    assert [x.ref for x in r.night.decided if x.verdict == "keep" and x.commit] == ["refs/heads/autoresearch/nov23"] * 2
    assert kept(root, "nov23") == ["learn faster", "learn fastest"]
    assert git(root, "branch", "--show-current") == "main\n"
    assert git(root, "status", "--porcelain") == " D train_mlx.py\n"
    assert git(root, "show", "autoresearch/nov23:results.tsv").count("\n") == 3  # the header, baseline and first keep
    assert r.notebook.layout.table.read_text().count("\n") == 5
    git(root, "checkout", "-q", "train_mlx.py")
    git(root, "stash", "pop", "-q")
    git(root, "fsck", "--no-dangling")


def test_the_checkout_is_clean_between_decisions_so_that_git_switches_it(repository: Path) -> None:
    states = []

    def look() -> None:
        states.append(git(repository, "status", "--porcelain"))
        for branch in ("main", "autoresearch/nov23"):
            git(repository, "switch", "-q", branch)

    research(repository, {**GAINS, 1: [1.9]}, Meanwhile((look, ODD), (look, FASTER))).run(Limits(2))
    assert states == ["", ""] and "LR = 0.02" in (repository / "train_mlx.py").read_text()


def test_a_version_that_the_person_commits_to_the_branch_is_measured_and_a_keep_is_tried_on_it(
    repository: Path,
) -> None:
    file = repository / "train_mlx.py"

    def commit() -> None:
        file.write_text(file.read_text() + "\nMINE = 1\n")
        git(repository, "commit", "-qam", "my own idea")

    values = {1: [1.56, 1.56], 2: [1.6, 1.61, 1.59], 3: [1.56, 1.56]}
    r = research(repository, values, Meanwhile((commit, FASTER)))
    r.run(Limits(2))
    told = [(x.role, x.proposal.title.partition(" (")[0], x.ref) for x in r.night.decided]
    assert told == [
        ("baseline", "baseline", None),
        ("candidate", "learn faster", "refs/autoresearch/nov23/0001"),
        ("baseline", "baseline", None),
        ("candidate", "learn faster", "refs/heads/autoresearch/nov23"),
    ]
    assert kept(repository, "nov23") == ["my own idea", "learn faster"]
    assert "MINE = 1" in file.read_text() and "LR = 0.02" in file.read_text()
    assert git(repository, "status", "--porcelain") == ""


@pytest.mark.parametrize("deed", ["branch -m autoresearch/nov23 mine", "reset -q --hard main"])
def test_no_keep_gets_lost_when_the_branch_is_renamed_or_reset(repository: Path, deed: str) -> None:
    ideas = Meanwhile((lambda: None, FASTER), (lambda: git(repository, *deed.split()), FASTEST))
    r = research(repository, GAINS, ideas)
    r.run(Limits(2))
    assert [x.verdict for x in r.night.experiments.values()] == ["keep", "keep", "keep"]
    assert kept(repository, "nov23") == ["learn faster", "learn fastest"]


@pytest.mark.usefixtures("toy_cache")
def test_a_night_whose_checkout_was_switched_is_resumed_with_its_keep(repository: Path) -> None:
    (repository / "train_mlx.py").write_text(HONEST.read_text().replace("LR = 0.01", "LR = 0.0001"))
    git(repository, "commit", "-qam", "a slow learner")
    first = night(repository, Meanwhile((lambda: git(repository, "switch", "-q", "main"), FASTER)), tag="t")
    assert first.incumbent_n == 1 and kept(repository, "t") == ["learn faster"]
    assert git(repository, "branch", "--show-current") == "main\n" and git(repository, "status", "--porcelain") == ""
    (repository / "train_mlx.py").write_text("half an idea\n")
    again = night(repository, Scripted(ODD), tag="t")
    assert [x.role for x in again.experiments.values()] == ["baseline", "candidate", "candidate"]
    assert again.base_commit == first.base_commit and again.interruptions == 0
    assert git(repository, "branch", "--show-current") == "main\n"
    assert (repository / "train_mlx.py").read_text() == "half an idea\n"
