"""The early stop in a real night, and how each reader of the night shows a discard without a val_bpb."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.candidate.versions import version
from autoresearch.decide import earlier_nights, early_stop
from autoresearch.decide.noise import Noise
from autoresearch.findings import export
from autoresearch.loop.session import Options, open_night
from autoresearch.paths import Layout
from autoresearch.record import journal
from autoresearch.record.journal import read_source
from autoresearch.records import SearchReplace, Set, TaskFacts
from autoresearch.report import analysis, page, status
from autoresearch.report.console import PlainView
from autoresearch.search import history
from autoresearch.search.tuner.observations import observe
from autoresearch.search.tuner.space import infer
from testbed.scripted import Scripted, ScriptedIdea
from testbed.toy import HONEST, this_machine

pytestmark = pytest.mark.slow

TASK = TaskFacts(dataset="toy", profile="tiny", fingerprint="toy0" * 4, budget_s=1.0)


EARLIER = [early_stop.Example(0.005 * (k % 5), 0.01) for k in range(20)] + [early_stop.Example(0.5, -0.1)]


NARROW: list[ScriptedIdea] = [
    (f"width {k}", (Set("WIDTH", str(k)),)) for k in (1, 2, 3, 4)
]  # worse at half and at the end


BUILD = "    return Toy(task.vocab_size, WIDTH)"


GPU_FAILS: ScriptedIdea = (
    "a kernel too long",
    (SearchReplace(BUILD, '    raise RuntimeError("Caused GPU Timeout Error")'),),
)


def test_losers_are_stopped_and_one_in_eight_runs_on(
    repository: Path, toy_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learnt = toy_cache / "machines" / this_machine().slug() / "noise.json"
    learnt.parent.mkdir(parents=True, exist_ok=True)
    earlier_nights.save(learnt, TASK, "earlier", Noise(0.02, 8.0), EARLIER)
    options = Options(tag="toy", dataset="toy", profile="tiny", time_budget_s=1.0)
    proposer = Scripted(*NARROW)
    with open_night(repository, options, PlainView(), lambda facts: proposer) as research:
        research.experimenter.prepare()
        while proposer.ideas and early_stop.past_limit(research.night) < 2:
            research.turn()
        proposer.ideas = [GPU_FAILS]
        research.turn()
        night = research.night
        trials = night.trials(research.notebook.source_of)
    # a failure that may be the machine's is run again, twice at most
    failed = night.decided[-1]
    assert [r.ended for r in failed.runs.values()] == ["abandoned", "abandoned", "measured"]
    assert failed.verdict == "crash" and failed.failure is not None and failed.failure.kind == "machine"
    past = [x for x in night.decided if x.measurements[0].past_limit]
    assert len(past) == 2
    sample, stopped = past
    assert sample.verdict == stopped.verdict == "discard"
    assert sample.estimate is not None and sample.delta_score is not None and sample.delta_score < 0
    m = stopped.stopped
    assert m is not None and m.score is None and m.failure is None and m.num_steps is None
    assert stopped.failure is None and stopped.estimate is None and stopped.delta_score is None
    assert stopped.reason.startswith("stopped at 50% of the budget: its loss was ")
    assert stopped.ref == f"refs/autoresearch/toy/{stopped.n:04}"
    # the journal replays to the same experiments, and the sample stands for eight in the machine's next night
    assert journal.read(Layout(repository, "toy")).experiments == night.experiments
    assert earlier_nights.examples(learnt, TASK, "another")[-1].weight == early_stop.AUDIT_EVERY
    # results.tsv, status, report, findings, prompt and tuner show it as a discard
    row = next(r for r in (repository / "results.tsv").read_text().splitlines() if stopped.proposal.title in r)
    assert row.split("\t")[1:2] + row.split("\t")[3:4] == ["", "discard"]
    assert "early stop: 1 of" in status.text(night) and "0 of them no worse" in status.text(night)
    assert "early stop: stops at half the budget above +" in capsys.readouterr().out
    assert "stopped at 50% of the budget" in page.render(
        night, lambda n: read_source(Layout(repository, "toy"), night.experiments[n])
    )
    assert analysis.headline(night).crashes == 1
    finding = export.read(Layout(repository, "toy")).finding(stopped.n)
    assert finding is not None and (finding.verdict, finding.score, finding.effect) == ("discard", None, None)
    last = next(trial for trial in trials if trial.n == stopped.n)
    assert "discard (stopped at 50%" in history.line(last, 0.02) and "crash" not in history.line(last, 0.02)
    source = HONEST.read_text()
    assert f"{last.title.split()[1]}-" in " ".join(history.values_tried(source, trials, 0.02, 1.0))
    assert observe(infer(source, 64), version(source), [last]).trials[-1].level is None  # bad, by an unknown amount
