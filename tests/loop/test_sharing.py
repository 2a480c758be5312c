"""The commands that share findings: export, compare, and what a name may be."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import BundleError, UsageError
from autoresearch.findings import bundle, hints
from autoresearch.findings.finding import SharedMetric
from autoresearch.loop import sharing
from autoresearch.paths import STATE, Layout
from testbed.fake_hub import FakeHub
from testbed.html_page import Page
from testbed.night_builder import A, B, NightBuilder, set_to, shared

TASK_TOML = """
edit = ["model.py"]
run = "python run.py"
score = "python score.py"
[metric]
name = "error"
from = "score:json:error"
direction = "lower"
"""


@pytest.mark.slow
def test_terminal_page_and_data_say_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, found in (("a", A), ("b", B)):
        bundle.save(found, tmp_path / f"{name}.json")
    args = argparse.Namespace(nights=[str(tmp_path)], html=tmp_path / "c.html", json=tmp_path / "c.data")
    assert sharing.compare_command(tmp_path, args) == 0
    shown = capsys.readouterr().out
    data = json.loads((tmp_path / "c.data").read_text())
    page = " ".join(Page((tmp_path / "c.html").read_text()).text)
    for text in (
        "Apple M4 Pro, 20 GPU cores",
        "DEPTH 2 → 4",
        "all gain",
        "opposite",
        "2 → 4",
        "another question",
    ):
        assert text in page, text
        assert text.split()[0] in shown and text.split()[-1] in shown, text
    assert [row["agreement"] for row in data["shared"] if row["change"] == "code in MLP.__call__"] == ["opposite"]
    assert data["nights"][0]["id"] == A.id


def test_what_a_name_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    root, shared_file = tmp_path / "checkout", tmp_path / "a.json"
    bundle.save(A, shared_file)
    made = NightBuilder(tag="nov23")
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    made.write(root / "runs" / "nov23")
    (tmp_path / "results.tsv").write_text(
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\nabc1234\t1.5\t2.0\tkeep\tbaseline\n"
    )
    assert [b.id for b in sharing.nights_of(root, str(shared_file))] == [A.id]
    assert sharing.nights_of(root, "nov23")[0].finding(1) is not None
    assert sharing.nights_of(root, str(tmp_path / "results.tsv"))[0].kind == "imported"
    assert sharing.nights_of(root, str(tmp_path))[0].kind == "imported"
    with pytest.raises(UsageError, match="runs holds no findings"):
        sharing.nights_of(root, str(root / "runs"))
    with pytest.raises(UsageError, match="dec24 is not a file of findings"):
        sharing.nights_of(root, "dec24")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(BundleError, match="refused"):
        sharing.nights_of(root, str(tmp_path / "b.json"))


def test_of_a_folder_what_is_refused_is_told_and_the_rest_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad\x1b[31m.json").write_text("{}")
    with pytest.raises(BundleError, match=r"none of its 1 file \(\*\.json\) can be taken"):
        sharing.nights_of(tmp_path, str(tmp_path))
    bundle.save(A, tmp_path / "good.json")
    assert [night.id for night in sharing.nights_of(tmp_path, str(tmp_path))] == [A.id]
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "left out: bad [31m.json: refused: this is not a file of findings"


def test_export_writes_a_file_and_says_how_to_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    made = NightBuilder(tag="nov23")
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    made.write(tmp_path / "runs" / "nov23")
    assert sharing.export_command(tmp_path, argparse.Namespace(tag="nov23", output=None, curves=None)) == 0
    (file,) = (tmp_path / "findings").iterdir()
    found = bundle.load(file)
    assert file.name == f"apple-m4-pro-20-gpu-cores-24-gb-macos-26-2-2026-11-23-{found.id[:8]}.json"
    said = capsys.readouterr().out
    assert f"git add findings/{file.name}" in said and "2 experiments, 1 kept" in said
    made.candidate(set_to("DEPTH", 3), 0.1, "keep")
    shutil.rmtree(tmp_path / "runs")
    made.write(tmp_path / "runs" / "nov23")
    bundle.save(A, tmp_path / "findings" / "another-night.json")
    (tmp_path / "findings" / "notes.json").write_text("{}")
    assert sharing.export_command(tmp_path, argparse.Namespace(tag="nov23", output=None, curves=None)) == 0
    left = {other.name for other in (tmp_path / "findings").iterdir()}
    assert file.name not in left and {"another-night.json", "notes.json"} < left and len(left) == 3
    assert f"replaces an earlier export of the same night: {file.name}" in capsys.readouterr().out
    made.write(tmp_path / STATE / "runs" / "nov23")  # of a declared task, whose folder git does not see
    sharing.export_command(tmp_path / STATE, argparse.Namespace(tag="nov23", output=None, curves=None))
    said = capsys.readouterr().out
    assert "To share it: uv run loop.py share --repo OWNER/NAME" in said and "git add" not in said


def test_two_exports_of_one_night_are_compared_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = NightBuilder(tag="nov23")
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    bundle.save(shared(made), tmp_path / "early.json")
    made.candidate(set_to("DEPTH", 3), 0.1, "keep")
    bundle.save(shared(made), tmp_path / "late.json")
    bundle.save(A, tmp_path / "other.json")
    names = [str(tmp_path / f"{name}.json") for name in ("late", "early", "other")]
    assert sharing.compare_command(tmp_path, argparse.Namespace(nights=names, html=None, json=tmp_path / "c.data")) == 0
    nights = json.loads((tmp_path / "c.data").read_text())["nights"]
    assert [night["experiments"] for night in nights] == [2, 4]
    assert "left out: 1 other export of the same nights" in capsys.readouterr().out


def test_findings_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    bundle.save(shared(NightBuilder()), tmp_path / "empty.json")
    with pytest.raises(UsageError, match="1 night, and no clear gain or loss"):
        sharing.hinted(tmp_path, str(tmp_path / "empty.json"))
    metric = SharedMetric(name="error", unit="")
    bundle.save(replace(A, task=replace(A.task, metric=metric)), tmp_path / "other.json")
    with pytest.raises(UsageError, match=r"other\.json: 1 night, and none was judged by val_bpb"):
        sharing.hinted(tmp_path, str(tmp_path / "other.json"))
    state = tmp_path / STATE  # of a declared task, which is judged by its own number
    (tmp_path / "task.toml").write_text(TASK_TOML)
    assert sharing.hinted(state, str(tmp_path / "other.json"))
    bundle.save(A, tmp_path / "training.json")
    with pytest.raises(UsageError, match="none was judged by error"):
        sharing.hinted(state, str(tmp_path / "training.json"))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BundleError, match="refused"):
        sharing.hinted(tmp_path, str(tmp_path / "bad.json"))


def test_share_says_what_it_would_send_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AUTORESEARCH_FINDINGS", raising=False)
    made = NightBuilder(tag="nov23")
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    made.write(tmp_path / "runs" / "nov23")
    with pytest.raises(UsageError, match="name the dataset repository that you share with"):
        sharing.share_command(tmp_path, argparse.Namespace(tag="nov23", repo=None, dry_run=True))
    with FakeHub({"people/findings": {}}) as hub:
        hub.writers = {"hf_mine"}
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        for dry_run, last in ((True, "nothing was sent; without --dry-run it goes to people/findings"), (False, "1\n")):
            args = argparse.Namespace(tag="nov23", repo="people/findings", dry_run=dry_run)
            assert sharing.share_command(tmp_path, args) == 0
            assert last in capsys.readouterr().out and len(hub.pulls) == (not dry_run)
        (file,) = (tmp_path / "findings").iterdir()
        assert hub.pulls[0]["files"] == {f"findings/{file.name}": file.read_bytes()}


def test_places_on_the_net_are_compared_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    with FakeHub({}) as hub:
        hub.put("people/findings", a=bundle.dump(A), b=bundle.dump(B), c=b"{}")
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        assert sharing.findings_command(tmp_path, argparse.Namespace(source="hub:people/findings")) == 0
        said = capsys.readouterr().out
        assert "hub:people/findings: 2 nights of 2 machines" in said and "1 night  Apple M1, 8 GPU cores" in said
        assert "left out: c.json: refused" in said and "loop.py --findings hub:people/findings" in said
        assert [night.id for night in sharing.nights_of(tmp_path, "hub:people/findings")] == [A.id, B.id]
        assert sharing.hinted(tmp_path, "hub:people/findings")


def test_an_export_says_what_became_of_the_hints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    made = NightBuilder(tag="nov23")
    made.add("hinted", findings=hints.for_journal(hints.choose([A])))
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    made.write(tmp_path / "runs" / "nov23")
    (told,) = sharing.bundle_of(Layout(tmp_path, "nov23")).hints
    assert (told.title, told.verdict, told.experiment) == ("DEPTH -> 4", "transfers", 1)
