"""Findings as files: nothing is lost, nothing private leaves, and nothing damaged, hostile or newer comes in."""

from __future__ import annotations

import contextlib
import json
import math
import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import constants
from autoresearch.decide.noise import Noise
from autoresearch.errors import BundleError
from autoresearch.findings import bundle, effects, export, schema
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.scrub import Scrubber, scrubber
from autoresearch.records import Proposal, SearchReplace, Set
from testbed.honest import BASE
from testbed.made_nights import GELU, TASK, Made
from testbed.toy import ROOT, git

OPEN = Scrubber()
MADE = Made().try_all(14)
MADE.candidate(Proposal((GELU,), "GELU", "smooth", "mlp", "tuner"), 0.03)
BUNDLE = export.export(MADE.night, MADE.sources.__getitem__, OPEN)
DATA = bundle.dump(BUNDLE)


def changed(**top: Any) -> bytes:
    """The file with other top-level fields, and the id that belongs to them where it still can be computed."""
    value = {**json.loads(DATA), **top}
    content = {key: entry for key, entry in value.items() if key not in ("format", "version", "id")}
    with contextlib.suppress(schema.Mismatch):
        value["id"] = schema.decode(Bundle, content).id
    return json.dumps(value).encode()


def finding(index: int, **fields: Any) -> bytes:
    value = json.loads(DATA)["findings"]
    value[index] = {**value[index], **fields}
    return changed(findings=value)


# --- a round trip -----------------------------------------------------------------------------------------------------


def test_a_round_trip_loses_nothing(tmp_path: Path) -> None:
    bundle.save(BUNDLE, tmp_path / "a.json")
    loaded = bundle.load(tmp_path / "a.json")
    assert loaded == BUNDLE and bundle.dump(loaded) == DATA
    assert len(loaded.findings) == len(MADE.sources)
    assert {loaded.source(f) for f in loaded.findings} == set(MADE.sources.values())  # every source
    laid_out = json.dumps(json.loads(DATA), separators=(",", ":")).encode()
    assert bundle.loads(laid_out).id == BUNDLE.id  # the content counts, not the layout


def test_a_finding_says_what_where_and_how_much() -> None:
    gelu = BUNDLE.findings[-1]
    assert gelu.verdict == "keep" and gelu.title == "GELU" and gelu.parent == BUNDLE.findings[-1].parent
    assert gelu.change is not None and gelu.change.touches == ("MLP.__call__",) and not gelu.change.constants
    assert gelu.effect is not None and gelu.effect.low_bpb is not None and gelu.effect.high_bpb is not None
    assert gelu.effect.low_bpb < gelu.effect.gain_bpb < gelu.effect.high_bpb
    assert (
        gelu.cost is not None and gelu.cost.tok_s and gelu.cost.peak_memory_mb == 4000.0 and gelu.cost.num_steps == 700
    )
    assert BUNDLE.machine.describe() == "Apple M4 Pro, 20 GPU cores, 24 GB, macOS 26.2"
    assert BUNDLE.task.fingerprint == TASK["fingerprint"] and BUNDLE.task.budget_s == 300 and BUNDLE.versions["mlx"]
    crash = next(f for f in BUNDLE.findings if f.verdict == "crash")
    assert crash.failure == "memory: held 9.1 GB of memory (limit 8.0 GB)" and crash.effect is None
    assert "a traceback" not in DATA.decode()


def test_the_published_schema_is_that_of_the_loader() -> None:
    """Change bundle.py, then: python -m autoresearch.findings.bundle"""
    assert json.loads(bundle.SCHEMA.read_text()) == bundle.json_schema()
    properties = bundle.json_schema()["properties"]
    assert set(properties) == {"format", "version", "id", *(f.name for f in fields(Bundle))}


def test_every_shared_finding_can_be_read() -> None:
    """It is whole, real, and holds nothing that an export takes out."""
    for path in (ROOT / "findings").glob("*.json"):
        found = bundle.load(path)
        assert found.kind in ("night", "transfer")
        for f in found.findings:
            for text in (f.title, f.hypothesis, f.reason, f.failure or ""):
                assert OPEN.prose(text, len(text)) == text.strip(), path
        for n, source in enumerate(found.sources.values()):
            assert OPEN.source(source, n, ran=True) == source
    assert (ROOT / "findings" / "README.md").is_file()


# --- what is refused --------------------------------------------------------------------------------------------------

ESCAPE = finding(1, title="\x1b]0;owned\x07")
REFUSED = {
    "empty": (b"", "not readable as JSON"),
    "another file": (b"[1, 2]", "no file of findings"),
    "torn": (DATA[:-100], "not readable as JSON"),
    "not UTF-8": (b"\xff" + DATA, "not readable as JSON"),
    "deeply nested": (b"[" * 200_000, "not readable as JSON"),
    "NaN": (changed(hours=math.nan), "NaN is no JSON"),
    "an endless number": (DATA.replace(b'"sigma_bpb": ', b'"sigma_bpb": 1e999, "x": ', 1), "unknown fields|not finite"),
    "infinite": (changed(hours=1.0).replace(b'"hours": 1.0', b'"hours": 1e999'), "not finite"),
    "a huge integer": (changed(hours=1.0).replace(b'"hours": 1.0', b'"hours": 1' + b"0" * 400), "too large"),
    "an endless integer": (changed(hours=1.0).replace(b'"hours": 1.0', b'"hours": 1' + b"0" * 9000), "JSON"),
    "a name twice": (DATA.replace(b'{\n "best"', b'{\n "kind": "night",\n "best"', 1), "stands twice in one object"),
    "a newer version": (changed(version=3), "its version is 3; this program reads 2. Update this program"),
    "no version": (changed(version=None), "No such version was ever written"),
    "version true": (changed(version="1"), "No such version was ever written"),
    "another format": (changed(format="pickle"), "no file of findings"),
    "a changed figure": (DATA.replace(b'"sigma_df": 3.0', b'"sigma_df": 30.0'), "changed since it was written"),
    "an unknown field": (changed(command="rm -rf ~"), "unknown fields: 'command'"),
    "a missing field": (changed(findings=[{"n": 0}]), "missing fields: role"),
    "a wrong type": (finding(1, n="1"), r"findings\[1\].n: int is expected"),
    "true for a number": (finding(1, n=True), r"findings\[1\].n: int is expected"),
    "another verdict": (finding(1, verdict="better"), "'better' is none of keep, discard"),
    "terminal escapes": (ESCAPE, r"character '\\x1b' is not allowed"),
    "text that runs backwards": (finding(1, title="a\u202egpj.exe"), "is not allowed"),
    "half a character": (finding(1, title="x").replace(b'"title": "x"', b'"title": "\\ud800"'), "is not allowed"),
    "an endless title": (finding(1, title="x" * 10_000), "10000 characters; 300 are allowed"),
    "two lines of a title": (finding(1, title="a\nb"), "is not allowed"),
    "an odd constant": (finding(1, change={"set": {"__import__('os')": "1"}}), "not of the form"),
    "too many experiments": (changed(findings=[json.loads(DATA)["findings"][0]] * 6000), "6000 entries are too many"),
    "an experiment twice": (finding(1, n=0), "experiment 0 stands twice"),
    "a parent to come": (finding(1, parent=9), "has the parent 9, which does not come before it"),
    "a missing source": (finding(1, source="0" * 64), "the source of experiment 1 is missing"),
    "another source": (changed(sources={**json.loads(DATA)["sources"], "0" * 64: "import os"}), "it was changed"),
    "a source of nobody": (changed(sources={**json.loads(DATA)["sources"], bundle.sha256("x"): "x"}), "no experiment"),
    "no best": (changed(best=999), "the best, experiment 999, is missing"),
    "no sigma": (changed(sigma_bpb=None), "has to say its sigma_bpb"),
    "sigma of zero": (changed(sigma_bpb=0.0), "is not more than 0"),
    "a transfer of nothing": (changed(kind="transfer"), "a transfer has to say of what"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    data, reason = REFUSED[case]
    path = tmp_path / "findings.json"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=reason) as caught:
        bundle.load(path)
    assert str(path) in str(caught.value) and "refused" in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000  # the message obeys no escape either


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(bundle.MOST_BYTES + 2**20)
    with pytest.raises(BundleError, match="65 MB; findings have at most 64 MB"):
        bundle.load(path)
    with pytest.raises(BundleError, match="No such file"):
        bundle.load(tmp_path / "nothing.json")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(min_size=0, max_size=3))
def test_no_damage_goes_unnoticed(position: int, noise: bytes) -> None:
    damaged = DATA[:position] + noise + DATA[position + 1 :]
    with contextlib.suppress(BundleError):
        assert bundle.loads(damaged) == BUNDLE  # a blank more or less


NAMES = st.sampled_from([f.name for f in fields(Bundle)])
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON, NAMES)
def test_any_json_is_refused_in_words(value: Any, name: str) -> None:
    try:
        bundle.loads(changed(**{name: value}))
    except BundleError as error:
        assert str(error)


def test_reading_runs_nothing(tmp_path: Path) -> None:
    """A source that would leave a mark when it is imported, in a file that is right in every respect."""
    mark = tmp_path / "mark"
    source = f"open({str(mark)!r}, 'w')\n" + BASE
    first, *others = BUNDLE.findings
    sources = {**BUNDLE.sources, bundle.sha256(source): source}
    del sources[first.source or ""]
    evil = replace(BUNDLE, sources=sources, findings=(replace(first, source=bundle.sha256(source)), *others))
    assert bundle.loads(bundle.dump(evil)).source(evil.findings[0]) == source
    assert not mark.exists()


# --- what may leave the machine ---------------------------------------------------------------------------------------


def private_night(tmp_path: Path) -> tuple[Made, Path]:
    root = tmp_path / "anna" / "metal"
    root.mkdir(parents=True)
    git(root, "init", "-q")
    git(root, "config", "user.name", "Anna Quastenflosser")
    git(root, "config", "user.email", "anna@quastenflosser.example")
    made = Made(task={**TASK, "dataset": "diary-1f0c39ae", "source": "/Users/anna/diary.txt"})
    told = (
        f"Anna saw /Users/anna/notes/adam.txt, '/Volumes/Big Merger/plan B/x.bin', ~/diary/moon.md and "
        f"{root}/runs/x.log; /Users/anna: diary.txt (diary-1f0c39ae) was sent "
        "to anna@quastenflosser.example and her.boss@merger.example"
    )
    edit = SearchReplace(
        "LR = 0.01  # peak learning rate",
        f"LR = 0.02  # as in {root}/notes.md and /Volumes/Merger/plan.md, says Quastenflosser",
    )
    made.candidate(Proposal((edit,), told[:79], told, "learning_rate", "openai:/Users/anna/models/q8.gguf"), 0.05)
    return made, root


def test_nothing_private_leaves(tmp_path: Path) -> None:
    made, root = private_night(tmp_path)
    shared = export.read(made.write(root / "runs" / "nov23"), root)
    text = bundle.dump(shared).decode()
    for secret in (
        "anna",
        "Anna",
        "Quasten",
        "diary",
        "erger",
        "plan B",
        "~/",
        str(root),
        str(Path.home()) + "/",
        "nov23",
    ):
        assert secret not in text, secret
    assert shared.task.dataset == "own text" and shared.task.fingerprint == TASK["fingerprint"]
    kept = shared.findings[1]
    assert kept.change is not None and kept.change.set == {"LR": "0.02"}  # the change itself is unharmed
    assert constants.normalised(shared.source(kept) or "") == constants.normalised(made.sources[1])
    assert ".../adam.txt, '.../x.bin', .../moon.md" in kept.hypothesis  # what an error is about stays readable


def test_a_secret_in_the_code_stops_the_export(tmp_path: Path) -> None:
    made, root = private_night(tmp_path)
    edit = SearchReplace("HEADS = 2  # attention heads", f'HEADS = 2\nNOTE = "{root}/notes.md"')
    made.candidate(Proposal((edit,), "a note", "", "other", "by hand"), 0.05)
    with pytest.raises(
        BundleError, match=r"experiment 2 cannot be shared: line \d+ of its source holds a private name"
    ):
        export.read(made.write(root / "runs" / "nov23"), root)


def test_names_that_are_words_of_the_field_are_no_secrets(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "Adam Weights")
    scrub = scrubber(tmp_path, BASE)
    assert scrub.line("Adam with new betas, by Weights", 80) == "Adam with new betas, by [private]"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_a_model_writes_can_be_shared(title: str, hypothesis: str) -> None:
    made = Made()
    made.candidate(Proposal((Set("LR", "0.02"),), title[:80], hypothesis, "other", title), 0.0, "keep")
    shared = export.export(made.night, made.sources.__getitem__, OPEN)
    assert bundle.loads(bundle.dump(shared)) == shared


def test_line_ends_of_windows_and_a_source_that_never_ran() -> None:
    made = Made()
    made.sources[0] = BASE.replace("\n", "\r\n")
    n = made.propose("candidate", Proposal((), "no Python", "", "other", "tuner"), "def \x1b(:\n", 0.0)
    made.decide(n, "crash", "contract: line 1: not valid Python")
    shared = export.export(made.night, made.sources.__getitem__, OPEN)
    assert shared.source(shared.findings[0]) == BASE and shared.findings[1].change is None


def test_a_night_without_a_baseline_has_nothing_to_share(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"nothing to share. Run: uv run loop.py"):
        export.read(tmp_path, tmp_path)


# --- effects ----------------------------------------------------------------------------------------------------------


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """2,000 effects of 0.01 from one run against two, sigma estimated from the same few replicates as in a night."""
    rng, inside, df = random.Random(0), 0, 6
    for _ in range(2000):
        runs, against = [rng.gauss(1.0, 0.02)], [rng.gauss(1.01, 0.02) for _ in range(2)]
        sigma = 0.02 * math.sqrt(rng.gammavariate(df / 2, 2) / df)
        found = effects.pooled(runs, against, Noise(sigma, df))
        inside += (found.low_bpb or 0.0) <= 0.01 <= (found.high_bpb or 0.0)
    assert 0.935 < inside / 2000 < 0.965


def test_the_run_that_was_picked_is_left_out() -> None:
    """A change that does nothing, kept for two lucky runs: its first run does not count, its controls do."""
    made = Made(sigma_bpb=1e-9)
    made.truth[0] = 1.6
    source = BASE.replace("LR = 0.01", "LR = 0.02")
    n = made.propose("candidate", Proposal((Set("LR", "0.02"),), "lucky", "", "other", "tuner"), source, 1.5)
    made.run(n, "search")
    made.truth[n] = 1.6
    made.run(n, "repeat")
    made.decide(n, "keep", delta_bpb=0.05, sigma_bpb=0.01, estimate=1.55)
    made.run(n, "incumbent")
    found = export.export(made.night, made.sources.__getitem__, OPEN).findings[n].effect
    assert found is not None and found.gain_bpb == pytest.approx(0.0, abs=1e-6)
    assert (found.runs, found.against) == (2, 3) and "without the run that was picked" in found.method


def test_a_drift_of_the_machine_is_no_effect() -> None:
    """In the middle of the night everything gets 0.1 worse; a change that does nothing is measured after it."""
    made = Made(sigma_bpb=0.002)
    made.run(0, "incumbent", "incumbent", "incumbent")
    made.truth[0] += 0.1
    made.run(0, "incumbent", "incumbent", "incumbent", "incumbent")
    n = made.candidate(Proposal((Set("LR", "0.02"),), "nothing", "", "other", "tuner"), 0.0, "discard")
    found = export.export(made.night, made.sources.__getitem__, OPEN).findings[n].effect
    assert found is not None and abs(found.gain_bpb) < 0.01


def test_the_validated_gain_is_paired_by_seed() -> None:
    made = Made()
    n = made.candidate(Proposal((Set("LR", "0.02"),), "faster", "", "other", "tuner"), 0.05, "keep")
    for i in range(4):
        for x in (0, n):
            made.add("started", n=x, run=10 + i, seed=500 + i, purpose="final")
            bpb = made.truth[x] + 0.1 * i  # the machine gets slower: it cancels
            made.add("measured", n=x, run=10 + i, measurement={"seed": 500 + i, "val_bpb": bpb})
    total = export.export(made.night, made.sources.__getitem__, OPEN).total
    assert total is not None and total.runs == 4 and "paired t" in total.method
    assert total.low_bpb == pytest.approx(0.05) and total.high_bpb == pytest.approx(0.05)


def test_hours_are_those_of_research() -> None:
    made = Made()
    first = export.decided_after(b"".join(map(export.journal.encode, made.events)))[0]
    made.now = made.now.replace(year=2027)  # closed for a year, then resumed
    made.events.append({**made.events[0], "t": made.now.isoformat()})
    n = made.candidate(Proposal((Set("LR", "0.02"),), "later", "", "other", "tuner"), 0.05, "keep")
    hours = export.decided_after(b"".join(map(export.journal.encode, made.events)))
    assert hours[0] == first and first < hours[n] < first + 1
