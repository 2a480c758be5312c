"""A night as a bundle: what any night gives, and what gives none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from autoresearch.candidate.pack import pack
from autoresearch.errors import BundleError
from autoresearch.findings import bundle, export, schema
from autoresearch.findings.finding import Change, PatchBlock
from autoresearch.jsonable import plain, to_json
from autoresearch.paths import Layout
from autoresearch.records import Proposal, Set
from testbed.bundles import OPEN
from testbed.declared_context import FACTS, MS, SOURCE
from testbed.honest import BASE
from testbed.night_builder import M4, NightBuilder, shared


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_a_model_writes_can_be_shared(title: str, hypothesis: str) -> None:
    made = NightBuilder()
    made.candidate(Proposal((Set("LR", "0.02"),), title[:80], hypothesis, "other", title), 0.0, "keep")
    shared = export.export(made.night, made.sources.__getitem__, OPEN)
    assert bundle.loads(bundle.dump(shared)) == shared


def test_line_ends_of_windows_and_a_source_that_never_ran() -> None:
    made = NightBuilder()
    made.sources[0] = BASE.replace("\n", "\r\n")
    n = made.propose("candidate", Proposal((), "no Python", "", "other", "tuner"), "def \x1b(:\n", 0.0)
    made.decide(n, "crash", "contract: line 1: not valid Python")
    shared = export.export(made.night, made.sources.__getitem__, OPEN)
    assert shared.source(shared.findings[0]) == BASE and shared.findings[1].change is None


def test_the_author_of_a_hypothesis_from_outside_stays_on_this_machine() -> None:
    made = NightBuilder()
    proposal = Proposal((Set("LR", "0.02"),), "t", "", "other", "inbox: A Person", inbox_id="h1")
    made.candidate(proposal, 0.0, "keep")
    assert export.export(made.night, made.sources.__getitem__, OPEN).findings[1].proposer == "inbox"


def test_a_night_without_a_baseline_has_nothing_to_share(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"nothing to share. Run: uv run loop.py"):
        export.read(Layout(tmp_path, "t"))


def test_hours_are_those_of_research() -> None:
    made = NightBuilder()
    first = export.decided_after(b"".join(map(export.journal.encode, made.events)))[0]
    made.now = made.now.replace(year=2027)  # closed for a year, then resumed
    made.events.append({**made.events[0], "t": made.now.isoformat()})
    n = made.candidate(Proposal((Set("LR", "0.02"),), "later", "", "other", "tuner"), 0.05, "keep")
    hours = export.decided_after(b"".join(map(export.journal.encode, made.events)))
    assert hours[0] == first and first < hours[n] < first + 1


def test_a_change_of_several_files_names_them() -> None:
    before = pack({"q.sql": "SELECT 1\n", "c.toml": "[a]\nb-c = 1\n", "i.sql": ""})
    after = pack({"q.sql": "SELECT 2\n", "c.toml": "[a]\nb-c = 2\n", "i.sql": "CREATE INDEX i;\n"})
    made = export.change(before, after)
    assert made is not None
    assert (made.blocks, dict(made.files)) == (
        (PatchBlock("SELECT 1", "SELECT 2", "q.sql"),),
        {"i.sql": "CREATE INDEX i;\n"},
    )
    assert (dict(made.set), made.touches) == ({"a.b-c": "2"}, ("q.sql", "i.sql"))
    kind = TypeAdapter(Change)
    assert schema.read(kind, to_json(schema.write(kind, made))) == made


def test_two_nights_of_a_declared_task_on_one_day_are_two() -> None:
    """Runs of an exact task say the same each time; when the second one began differs."""
    facts = replace(FACTS, fingerprint="f1")
    made = NightBuilder(M4, plain(facts), source=SOURCE, baseline_score=MS.score(12.5), sigma_score=1e-9)
    made.candidate(Proposal((Set("pages", "20"),), "More pages", "", "query", "tuner"), 0.2, "keep")
    one = bundle.loads(bundle.dump(shared(made)))
    assert one.source(one.findings[1]) == SOURCE.replace("pages = 10", "pages = 20")
    baseline = one.findings[0]
    later = replace(baseline, runs=(baseline.runs[0], replace(baseline.runs[1], hour=0.5), *baseline.runs[2:]))
    other = replace(one, findings=(later, *one.findings[1:]))
    assert other.night != one.night and replace(one, findings=one.findings[:1], best=0).night == one.night
