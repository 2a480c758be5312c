"""Another machine's findings tried on this one: the order, the adaptation, the verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.candidate import constants
from autoresearch.decide.estimates import Estimates
from autoresearch.decide.noise import Noise
from autoresearch.errors import ProposerError
from autoresearch.findings import transfer
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import Effect, TransferOutcome, TransferReport
from autoresearch.records import Context, Proposal, Set
from testbed.night_builder import GELU, M1, TASK, NightBuilder
from testbed.transfers import BASE, SHARP, THERE, idea


class Here:
    """Made-up night that asks a TransferProposer for ideas as the loop does."""

    def __init__(self, found: Bundle = THERE, source: str = BASE) -> None:
        self.made = NightBuilder(M1, TASK, sigma_score=SHARP, source=source, tag="transfer")
        self.bundle, self.proposer = found, transfer.TransferProposer(found)

    @property
    def context(self) -> Context:
        night = self.made.night
        source, history = self.made.sources[night.incumbent_n], night.trials(self.made.sources.__getitem__)
        return Context(source, 1.6, SHARP, "", night.task, "", history)

    def propose(self) -> Proposal:
        (proposal,) = self.proposer.propose(self.context)
        return proposal

    def rows(self) -> dict[str, tuple[str, str]]:
        night, now = self.made.night, Estimates(Noise(SHARP, 100.0))
        found = transfer.outcome(self.bundle, night, self.made.sources.__getitem__, now)
        return {row.title: (row.verdict, row.reason) for row in found.rows}


def test_the_order_is_that_of_promise() -> None:
    kept = transfer.changes(THERE)
    assert [c.finding.title for c in kept] == ["deeper", "GELU", "half", "no norm", "faster", "unstacked"]
    assert [c.promise for c in kept] == sorted((c.promise for c in kept), reverse=True)


@pytest.mark.slow
def test_each_change_on_top_of_what_held_and_the_verdicts() -> None:
    here = Here()
    gains = {"deeper": 0.2, "GELU": -0.2, "no norm": 0.0, "half": 0.1, "faster": 0.1}
    order = []
    while here.proposer.left(here.context):
        proposal = here.propose()
        title = proposal.title.partition(": ")[2]
        order.append(title)
        here.made.candidate(proposal, gains[title], "keep" if gains[title] > 0 else "discard")
    # "half" changes a line that only "no norm" adds. "no norm" was not kept here, so "half" never applies.
    assert order == ["deeper", "GELU", "no norm", "faster"]
    rows = here.rows()
    assert {title: verdict for title, (verdict, _) in rows.items()} == {
        "deeper": "transfers",
        "GELU": "reverses",
        "half": "cannot run",
        "no norm": "null",
        "faster": "transfers",
        "unstacked": "cannot run",
    }
    assert "SEARCH" in rows["half"][1] and "only fits STACK_MATRICES to its machine" in rows["unstacked"][1]
    held = constants.read(here.context.source)
    assert (held["DEPTH"], held["LR"]) == (4, 0.02) and "gelu" not in here.context.source
    assert held["DEVICE_BATCH_SIZE"] == 16  # rows at once are fitted to this machine
    with pytest.raises(ProposerError, match="every change that applies has been tried"):
        here.proposer.propose(here.context)


def test_what_did_not_apply_is_looked_at_again_when_something_held() -> None:
    here = Here()
    for gain in (-0.2, -0.2, 0.1):
        here.made.candidate(here.propose(), gain, "keep" if gain > 0 else "discard")
    assert [x.proposal.title for x in here.made.night.experiments.values()][-1] == "their #2: no norm"
    assert here.propose().title == "their #4: half"


def test_it_says_where_it_comes_from() -> None:
    proposal = Here().propose()
    assert proposal.proposer == f"transfer:{THERE.id[:12]}" and proposal.title == "their #6: deeper"
    assert "Found on Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2. It gained 0.4000 bpb there." in proposal.hypothesis
    assert proposal.origin == 6


@pytest.mark.slow
def test_a_change_that_runs_out_of_memory_is_tried_with_fewer_rows() -> None:
    here = Here()
    rows = []
    for _ in range(3):
        proposal = here.propose()
        assert proposal.title == "their #6: deeper"
        rows.append(
            [edit.literal for edit in proposal.edits if isinstance(edit, Set) and edit.name == "DEVICE_BATCH_SIZE"]
        )
        here.made.crash(proposal)
        if len(rows) < 3:
            assert "deeper" not in here.rows()  # half the rows are still to be tried
    assert rows == [[], ["8"], ["4"]]
    assert here.propose().title == "their #5: GELU"
    verdict, reason = here.rows()["deeper"]
    assert verdict == "cannot run" and "memory" in reason


def test_a_gain_within_the_noise_does_not_transfer_though_the_rule_keeps_it() -> None:
    here = Here()
    here.made.candidate(here.propose(), 0.4, "keep")
    night, noisy = here.made.night, Estimates(Noise(0.3, 5.0))
    (row,) = transfer.outcome(here.bundle, night, here.made.sources.__getitem__, noisy).rows[:1]
    assert row.title == "deeper" and row.verdict == "null" and row.here is not None and row.here.direction == 0
    assert here.rows()["deeper"][0] == "transfers"  # the same gain is significant where sigma is small


def test_other_crashes_are_final() -> None:
    here = Here()
    here.made.crash(here.propose(), "diverged")
    assert here.propose().title == "their #5: GELU" and here.rows()["deeper"][0] == "cannot run"


def test_what_is_so_already_or_was_tried_is_not_offered() -> None:
    here = Here(source=BASE.replace("DEPTH = 2 ", "DEPTH = 4 "))
    assert here.propose().title == "their #5: GELU"
    assert here.rows()["deeper"] == ("cannot run", "its constants have these values here already")
    here.made.candidate(idea(GELU, title="somebody else's GELU"), -0.1, "discard")
    assert here.propose().title == "their #2: no norm"
    assert here.rows()["GELU"][1] == "it is what experiment 1 of this night was (discard)"


def test_a_change_beyond_a_patch_cannot_run() -> None:
    findings = tuple(replace(f, change=None) if f.title == "deeper" else f for f in THERE.findings)
    here = Here(replace(THERE, findings=findings))
    assert here.rows()["deeper"] == ("cannot run", "no patch can express the change")


def test_a_change_that_is_not_what_was_measured_is_not_tried() -> None:
    """The change in the file says DEPTH 4, but its sources show that something else was measured."""
    lied = tuple(
        replace(f, change=f.change and replace(f.change, set={"DEPTH": "5"})) if f.title == "deeper" else f
        for f in THERE.findings
    )
    here = Here(replace(THERE, findings=lied))
    assert here.propose().title == "their #5: GELU"
    assert here.rows()["deeper"] == ("cannot run", "its change does not turn its parent's source into its own")


def test_what_became_of_each_change_is_a_sentence() -> None:
    gain = Effect(0.0182, 0.0101, 0.0263)
    rows = (
        TransferOutcome(1, "Halve the batch", "transfers", there=Effect(0.021), here=gain),
        TransferOutcome(2, "Deeper", "null", here=Effect(-0.001, -0.004, 0.002)),
        TransferOutcome(3, "Look around", "cannot run", "contract: line 1: `import os`", there=gain),
    )
    assert transfer.sentences(TransferReport("id", "a Mac", 0.01, rows)) == [
        "Halve the batch: holds here, too. 0.0182 bpb better here (95% interval +0.0101 to +0.0263), "
        "0.0210 bpb better there.",
        "Deeper: makes no clear difference here. 0.0010 bpb worse here (95% interval -0.0040 to +0.0020).",
        "Look around: could not be tried here (contract: line 1: `import os`). "
        "0.0182 bpb better there (95% interval +0.0101 to +0.0263).",
        "Of 3 changes: 1 transferred, 1 made no clear difference, 1 could not run.",
    ]
    assert transfer.sentences(TransferReport("id", "a Mac", 0.01, ())) == ["No change was tried yet."]
