"""Findings as files: nothing is lost, nothing private leaves, and nothing damaged, hostile or newer comes in."""

from __future__ import annotations

import contextlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import BundleError
from autoresearch.findings import bundle
from testbed.bundles import BUNDLE, DATA, MADE, OPEN, changed, finding
from testbed.honest import BASE
from testbed.night_builder import TASK
from testbed.toy import ROOT

# --- a round trip -----------------------------------------------------------------------------------------------------


def test_a_round_trip_loses_nothing(tmp_path: Path) -> None:
    bundle.save(BUNDLE, tmp_path / "a.json")
    loaded = bundle.load(tmp_path / "a.json")
    assert loaded == BUNDLE and bundle.dump(loaded) == DATA
    assert len(loaded.findings) == len(MADE.sources)
    assert {loaded.source(f) for f in loaded.findings} == set(MADE.sources.values())  # the bundle holds every source
    laid_out = json.dumps(json.loads(DATA), separators=(",", ":")).encode()
    assert bundle.loads(laid_out).id == BUNDLE.id  # the id is a hash of the content, not of the layout


def test_a_finding_says_what_where_and_how_much() -> None:
    gelu = BUNDLE.findings[-1]
    assert gelu.verdict == "keep" and gelu.title == "GELU" and gelu.parent == BUNDLE.findings[-1].parent
    assert gelu.change is not None and gelu.change.touches == ("MLP.__call__",) and not gelu.change.constants
    assert gelu.effect is not None and gelu.effect.low_score is not None and gelu.effect.high_score is not None
    assert gelu.effect.low_score < gelu.effect.gain_score < gelu.effect.high_score
    assert (
        gelu.cost is not None and gelu.cost.tok_s and gelu.cost.peak_memory_mb == 4000.0 and gelu.cost.num_steps == 700
    )
    assert BUNDLE.machine.describe() == "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"
    assert BUNDLE.task.fingerprint == TASK["fingerprint"] and BUNDLE.task.budget_s == 300 and BUNDLE.versions["mlx"]
    crash = next(f for f in BUNDLE.findings if f.verdict == "crash")
    assert crash.failure == "memory: held 9.1 GB of memory (limit 8.0 GB)" and crash.effect is None
    assert "a traceback" not in DATA.decode()


def test_every_shared_finding_can_be_read() -> None:
    """A shared file is complete, measured, and free of what an export removes."""
    for path in (ROOT / "findings").glob("*.json"):
        found = bundle.load(path)
        assert found.kind in ("night", "transfer")
        for f in found.findings:
            for text in (f.title, f.hypothesis, f.reason, f.failure or ""):
                assert OPEN.prose(text, len(text)) == text.strip(), path
        for n, source in enumerate(found.sources.values()):
            assert OPEN.source(source, n, ran=True) == source
    assert (ROOT / "findings" / "README.md").is_file()


# --- several files of one night ---------------------------------------------------------------------------------------


def test_of_the_exports_of_a_night_the_one_that_holds_most_is_taken() -> None:
    early = replace(BUNDLE, findings=BUNDLE.findings[:9])
    assert bundle.newest([early, BUNDLE, early]) == bundle.newest([BUNDLE, early]) == [BUNDLE]


def test_a_file_that_contradicts_a_night_does_not_take_its_place() -> None:
    last = BUNDLE.findings[5]
    forged = replace(last, runs=tuple(replace(run, score=0.1) for run in last.runs))
    findings = [*BUNDLE.findings[:5], forged, *BUNDLE.findings[6:], replace(BUNDLE.findings[-1], n=99)]
    made_up = replace(BUNDLE, findings=tuple(findings))
    assert made_up.night == BUNDLE.night
    assert bundle.newest([BUNDLE, made_up]) == [BUNDLE, made_up]


# --- what is refused --------------------------------------------------------------------------------------------------

CONTENT = json.loads(DATA)


def effect(**fields: object) -> bytes:
    """Return the file with another effect of experiment 1, which was kept."""
    return finding(1, effect={**CONTENT["findings"][1]["effect"], **fields})


HINT = {
    "change": "0" * 64,
    "title": "x",
    "verdict": "null",
    "experiment": 0,
    "there": {"gain_score": 1, "low_score": 0},
}
LOG = {**CONTENT["task"], "metric": {"name": "time", "unit": "ms", "scale": "log"}}
SCORED = [{**CONTENT["findings"][0], "score": 1e14}, *CONTENT["findings"][1:]]
ESCAPE = finding(1, title="\x1b]0;owned\x07")
REFUSED = {
    "empty": (b"", "not readable as JSON"),
    "another file": (b"[1, 2]", "not a file of findings"),
    "torn": (DATA[:-100], "not readable as JSON"),
    "not UTF-8": (b"\xff" + DATA, "not readable as JSON"),
    "deeply nested": (b"[" * 200_000, "not readable as JSON"),
    "NaN": (changed(hours=math.nan), "NaN is not JSON"),
    "an endless number": (DATA.replace(b'"sigma_score": ', b'"sigma_score": 1e999, "x": ', 1), "finite number"),
    "infinite": (changed(hours=1.0).replace(b'"hours": 1.0', b'"hours": 1e999'), "finite number"),
    "a huge integer": (changed(hours=1.0).replace(b'"hours": 1.0', b'"hours": 1' + b"0" * 400), "finite number"),
    "an endless integer": (changed(hours=1.0).replace(b'"hours": 1.0', b'"hours": 1' + b"0" * 9000), "JSON"),
    "a name twice": (DATA.replace(b'{\n "best"', b'{\n "kind": "night",\n "best"', 1), "appears twice in one object"),
    "a newer version": (changed(version=3), "its version is 3; this program reads 2. Update this program"),
    "no version": (changed(version=None), "No such version was ever written"),
    "version true": (changed(version="1"), "No such version was ever written"),
    "another format": (changed(format="pickle"), "not a file of findings"),
    "a changed figure": (DATA.replace(b'"sigma_df": 2.0', b'"sigma_df": 20.0'), "changed since it was written"),
    "an unknown field": (changed(command="rm -rf ~"), "file.command: this field is unknown"),
    "a missing field": (changed(findings=[{"n": 0}]), r"findings\[0\].role: Field required"),
    "a wrong type": (finding(1, n="1"), r"findings\[1\].n: Input should be a valid integer"),
    "true for a number": (finding(1, n=True), r"findings\[1\].n: Input should be a valid integer"),
    "another verdict": (finding(1, verdict="better"), "Input should be 'keep', 'discard'.*; this is 'better'"),
    "terminal escapes": (ESCAPE, r"character '\\x1b' is not allowed"),
    "text that runs backwards": (finding(1, title="a\u202egpj.exe"), "is not allowed"),
    "text that only a model reads": (finding(1, title="a\U000e0049\U000e0047"), "is not allowed"),
    "half a character": (finding(1, title="x").replace(b'"title": "x"', b'"title": "\\ud800"'), "not allowed"),
    "an endless title": (finding(1, title="x" * 10_000), "at most 300 characters"),
    "two lines of a title": (finding(1, title="a\nb"), "is not allowed"),
    "an odd constant": (finding(1, change={"set": {"__import__('os')": "1"}}), "should match pattern"),
    "too many experiments": (changed(findings=[json.loads(DATA)["findings"][0]] * 6000), "5000 items"),
    "an experiment twice": (finding(1, n=0), "experiment 0 appears twice"),
    "a parent to come": (finding(1, parent=9), "has the parent 9, which does not come before it"),
    "a missing source": (finding(1, source="0" * 64), "the source of experiment 1 is missing"),
    "another source": (changed(sources={**json.loads(DATA)["sources"], "0" * 64: "import os"}), "it was changed"),
    "a source of nobody": (changed(sources={**json.loads(DATA)["sources"], bundle.sha256("x"): "x"}), "no experiment"),
    "no best": (changed(best=999), "the best, experiment 999, is missing"),
    "no sigma": (changed(sigma_score=None), "must state its sigma_score"),
    "sigma below zero": (changed(sigma_score=-0.1), "greater than or equal to 0"),
    "an effect without runs": (effect(runs=0), r"effect.runs: .*greater than or equal to 1; this is 0"),
    "a gain beyond belief": (effect(gain_score=1e300, high_score=1e301), "gain_score: .*less than or equal to"),
    "a gain outside its interval": (effect(gain_score=-5.0), "the gain of experiment 1, -5, is outside its interval"),
    "an interval upside down": (effect(low_score=5.0, high_score=-5.0), "outside its interval, 5 to -5"),
    "half an interval": (effect(high_score=None), "the effect of experiment 1 has one bound; an interval has two"),
    "a hint with half an interval": (changed(hints=[HINT]), "effect of hint 'x' has one bound"),
    "a score beyond a log scale": (changed(task=LOG, findings=SCORED), "a score of 1e.14 is none of a log scale"),
    "a day of no calendar": (changed(created="2026-02-30"), "created: no such day is in the calendar"),
    "a version with a point": (changed(version=2.0), "its version is 2.0"),
    "a transfer of nothing": (changed(kind="transfer"), "a transfer must say what it replays"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    data, reason = REFUSED[case]
    path = tmp_path / "findings.json"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=reason) as caught:
        bundle.load(path)
    assert str(path) in str(caught.value) and "refused" in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000  # no escape sequence gets into the message


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(bundle.MOST_FILE_BYTES + 2**20)
    with pytest.raises(BundleError, match="65 MB; findings have at most 64 MB"):
        bundle.load(path)
    with pytest.raises(BundleError, match="No such file"):
        bundle.load(tmp_path / "nothing.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("endless.json", "pipe.json", "."):
        with pytest.raises(BundleError, match="it is no file"):
            bundle.load(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(min_size=0, max_size=3))
def test_no_damage_goes_unnoticed(position: int, noise: bytes) -> None:
    damaged = DATA[:position] + noise + DATA[position + 1 :]
    with contextlib.suppress(BundleError):
        assert bundle.loads(damaged) == BUNDLE  # only a change of white space is accepted


def test_reading_runs_nothing(tmp_path: Path) -> None:
    """A valid file holds a source that would write a file if it were imported."""
    mark = tmp_path / "mark"
    source = f"open({str(mark)!r}, 'w')\n" + BASE
    first, *others = BUNDLE.findings
    sources = {**BUNDLE.sources, bundle.sha256(source): source}
    del sources[first.source or ""]
    evil = replace(BUNDLE, sources=sources, findings=(replace(first, source=bundle.sha256(source)), *others))
    assert bundle.loads(bundle.dump(evil)).source(evil.findings[0]) == source
    assert not mark.exists()
