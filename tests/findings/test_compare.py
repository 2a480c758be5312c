"""Several nights side by side: what is compared, what is claimed, what is warned of, and what a person sees."""

from __future__ import annotations

import argparse
import io
import json
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from autoresearch.errors import BundleError, UsageError
from autoresearch.findings import agreement, bundle, compare
from autoresearch.findings.bundle import Bundle, Change, Effect, Finding
from autoresearch.loop import sharing
from autoresearch.report import comparison_page
from testbed.made_nights import EXACT, M1, M4, A, B, Made, set_to, shared

# --- what is claimed --------------------------------------------------------------------------------------------------


def effect(low: float, high: float) -> Effect:
    return Effect((low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("effects", "told"),
    [
        ([effect(0.1, 0.3), effect(0.2, 0.9)], "same direction"),
        ([effect(-0.3, -0.1), effect(-0.9, -0.2)], "same direction"),
        ([effect(0.1, 0.3), effect(-0.3, -0.1)], "opposite"),
        ([effect(0.1, 0.3), effect(-0.3, -0.1), effect(-1, 1)], "opposite"),
        ([effect(-0.1, 0.3), effect(-0.3, 0.1)], "null"),
        ([effect(0.1, 0.3), effect(-0.1, 0.2)], "undecided"),
        ([effect(0.2, 0.3), effect(-0.1, 0.1)], "differs"),
        ([effect(0.2, 0.3)], "no intervals"),
        ([effect(0.2, 0.3), Effect(-0.4), None], "no intervals"),
        ([effect(0.2, 0.3), Effect(-0.4), effect(0.1, 0.2)], "same direction"),
    ],
)
def test_agreement_needs_intervals(effects: list[Effect | None], told: str) -> None:
    assert agreement.agree(effects) == told


def test_shared_changes_and_whether_they_agree() -> None:
    rows = {row.change: row for row in compare.compare([A, B]).shared}
    told = {change: (row.exact, row.agreement) for change, row in rows.items()}
    assert told["DEPTH 2 → 4"] == (True, "same direction")
    assert told["code in MLP.__call__"] == (True, "opposite")  # though it is made to two different files
    assert told["LR 0.01 → 0.02"][0] and told["LR 0.01 → 0.02"][1] != "same direction"
    cells = rows["code in MLP.__call__"].cells
    assert [cell.verdict for cell in cells if cell] == ["keep", "discard"]
    assert cells[0] is not None and cells[0].effect is not None and cells[0].effect.gain_bpb == pytest.approx(0.05)
    assert "WIDTH 32 → 96" in rows and rows["WIDTH 32 → 96"].agreement == "no intervals"  # it crashed in both


def test_a_long_constant_stays_a_line() -> None:
    told = agreement.described(finding(TABLE=("(1,\n 2)", "(" + "1.0, " * 5000 + ")")))
    assert told.startswith("TABLE (1, 2) → (1.0, 1.0,") and told.endswith("…") and len(told) < 80


def finding(**constants: tuple[str | None, str | None]) -> Finding:
    return Finding(1, "candidate", "discard", "t", change=Change(constants))


def test_what_counts_as_the_same_change() -> None:
    key, way = agreement.change_key, agreement.direction_key
    assert key(finding(LR=("0.0400", "0.06"))) == key(finding(LR=("4e-2", "0.0601")))
    assert key(finding(LR=("0.04", "0.06"))) != key(finding(LR=("0.05", "0.06")))
    assert key(finding(BATCH=("2**16", "2**15"))) == key(finding(BATCH=("65536", "32768")))
    assert key(finding(LR=("0.04", "0.06"), A=("1", "2"))) != key(finding(LR=("0.04", "0.06")))
    assert way(finding(LR=("0.04", "0.05"))) == way(finding(LR=("0.01", "0.1"))) == ("LR", "up")
    assert way(finding(LR=("0.04", "0.01"))) == ("LR", "down")
    assert way(finding(FLAG=("True", "False"))) is None and way(finding(A=("1", "2"), B=("1", "2"))) is None
    assert way(finding(NEW=(None, "2"))) is None and way(finding(PATTERN=('"L"', '"SL"'))) is None


def test_one_constant_moved_the_same_way_is_kin() -> None:
    first, second = Made(M4, sigma_bpb=EXACT), Made(M1, sigma_bpb=EXACT)
    first.candidate(set_to("DEPTH", 4), 0.1, "keep")
    second.candidate(set_to("DEPTH", 6), 0.2, "keep")
    (row,) = compare.compare([shared(first), shared(second)]).shared
    assert (row.change, row.exact, row.agreement) == ("DEPTH up", False, "same direction")


def test_the_first_try_speaks_for_a_night_not_the_luckiest() -> None:
    made = Made(sigma_bpb=EXACT)
    for gain in (-0.01, 0.04):
        made.candidate(set_to("DEPTH", 4), gain, "discard")
    rows = compare.compare([shared(made), A]).shared
    cell = next(row.cells[0] for row in rows if row.change == "DEPTH 2 → 4")
    assert cell is not None and cell.n == 1


# --- the figures ------------------------------------------------------------------------------------------------------


def test_gains_are_by_own_baseline_and_sigma() -> None:
    made = Made(baseline_bpb=2.0, sigma_bpb=EXACT)
    made.candidate(set_to("DEPTH", 4), 0.2, "keep")
    made.candidate(set_to("DEPTH", 6), -0.1, "discard")
    made.candidate(set_to("LR", 0.02), 0.1, "keep")
    found = replace(shared(made), sigma_bpb=0.05)
    row = compare.compare([found]).nights[0]
    steps = [
        (p.experiment, round(p.val_bpb, 4), round(p.gain_percent, 3), round(p.gain_sigma or 0, 3))
        for p in row.trajectory
    ]
    first, second = found.findings[1].val_bpb, found.findings[3].val_bpb  # a new incumbent is believed a little less
    assert first and second and 1.8 <= first < 1.8 + 1e-6 and 1.7 <= second < 1.7 + 1e-6
    assert steps == [(0, 2.0, 0.0, 0.0), (1, 1.8, 10.0, 4.0), (3, 1.7, 15.0, 6.0)]
    assert (row.experiments, row.keeps, row.discards, row.crashes) == (3, 2, 1, 0)
    assert row.gain_sigma == pytest.approx(6.0) and row.gain_percent == pytest.approx(15.0)


def test_a_trajectory_lasts_to_the_end() -> None:
    row = compare.compare([A]).nights[0]
    assert row.trajectory[-1].experiment == 4 and row.trajectory[-1].gain_percent == row.trajectory[-2].gain_percent


def test_constants_categories_and_costs() -> None:
    found = compare.compare([A, B])
    assert {row.name: row.cells for row in found.constants} == {
        "DEPTH": (("2", "4"), ("2", "4")),
        "LR": (("0.01", "0.02"), ("0.01", "0.01")),
    }
    paid = {row.name: row.cells for row in found.categories}
    assert [(p.tried, p.kept) for p in paid["mlp"]] == [(1, 1), (1, 0)]
    assert paid["depth"][0].gain_bpb == pytest.approx(0.1) and paid["width"][0].crashed == 1
    assert found.nights[0].best.peak_memory_mb == 4000.0 and found.nights[0].best.tok_s == 128_000


def test_what_forbids_comparing_is_said() -> None:
    other = replace(A, task=replace(A.task, fingerprint="f" * 16), versions={**A.versions, "mlx": "0.40.0"})
    battery = replace(A, machine=replace(A.machine, power="battery"))
    told = "\n".join(compare.compare([A, B, other, battery]).warnings)
    assert "fingerprint: 0123456789abcdef in A B D, ffffffffffffffff in C; the data differ" in told
    assert "budget_s: 300 in A C D, 600 in B" in told and "another budget is another question" in told
    assert "the MLX versions differ: 0.32.4 in A B D, 0.40.0 in C" in told and "D: on battery at the start" in told
    assert "all: sigma rests on less than 6 degrees of freedom" in told
    assert not [w for w in compare.compare([A, A]).warnings if "differ" in w]


def test_letters_go_on() -> None:
    assert [compare.letter(i) for i in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]


# --- what is seen -----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags balance; what is loaded from elsewhere, and what runs, is collected."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.foreign: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.stack.append(tag)
        if tag in ("script", "iframe", "img", "link", "object"):
            self.foreign.append(tag)
        self.foreign += [str(v) for k, v in attrs if k in ("src", "href", "xlink:href") and not str(v).startswith("#")]
        self.foreign += [k for k, _ in attrs if k.startswith("on")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br"):
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def hostile(found: Bundle) -> Bundle:
    """Texts that a page or a terminal might obey."""
    evil = "<script>alert(1)</script> $\\frac{1}{0}$ [red]\" onload='x' {x} %s"
    machine = replace(found.machine, chip=evil[:100])
    names = {"LR": ("0.01", '"</td><script>"')}
    findings = [
        replace(f, title=evil, category=evil, change=f.change and replace(f.change, constants=names))
        for f in found.findings
    ]
    return replace(found, machine=machine, findings=tuple(findings))


def test_the_page_obeys_no_text_and_needs_no_network() -> None:
    found = compare.compare([hostile(A), hostile(B)])
    page = Page(comparison_page.html(found))
    assert page.foreign == [] and any("<script>alert(1)</script>" in words for words in page.words)
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    comparison_page.show(found, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]" in shown and "\x1b]" not in shown


def test_terminal_page_and_data_say_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, found in (("a", A), ("b", B)):
        bundle.save(found, tmp_path / f"{name}.json")
    args = argparse.Namespace(nights=[str(tmp_path)], html=tmp_path / "c.html", json=tmp_path / "c.data")
    assert sharing.compare_command(tmp_path, args) == 0
    shown = capsys.readouterr().out
    data = json.loads((tmp_path / "c.data").read_text())
    page = " ".join(Page((tmp_path / "c.html").read_text()).words)
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


def test_twenty_nights_of_a_hundred_experiments_take_seconds(tmp_path: Path) -> None:
    one = shared(Made().try_all(100))
    files = [tmp_path / f"{i}.json" for i in range(20)]
    for i, file in enumerate(files):
        findings = tuple(replace(f, val_bpb=f.val_bpb and f.val_bpb * (1 - 0.001 * i)) for f in one.findings)
        bundle.save(replace(one, created=f"2026-11-{i + 1:02}", findings=findings), file)
    started = time.process_time()
    found = compare.compare([bundle.load(file) for file in files])
    page = comparison_page.html(found)
    comparison_page.show(found, Console(file=io.StringIO(), width=120))
    assert time.process_time() - started < 20
    assert len(found.nights) == 20 and found.nights[-1].key == "T" and len(page) < 3_000_000


# --- names on the command line ----------------------------------------------------------------------------------------


def test_what_a_name_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    root, shared_file = tmp_path / "checkout", tmp_path / "a.json"
    bundle.save(A, shared_file)
    made = Made(tag="nov23")
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
    with pytest.raises(UsageError, match="dec24 is no file of findings"):
        sharing.nights_of(root, "dec24")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(BundleError, match="refused"):
        sharing.nights_of(root, str(tmp_path / "b.json"))


def test_export_writes_a_file_and_says_how_to_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    made = Made(tag="nov23")
    made.candidate(set_to("DEPTH", 4), 0.1, "keep")
    made.write(tmp_path / "runs" / "nov23")
    assert sharing.export_command(tmp_path, argparse.Namespace(tag="nov23", output=None)) == 0
    (file,) = (tmp_path / "findings").iterdir()
    found = bundle.load(file)
    assert file.name == f"apple-m4-pro-20-gpu-cores-24-gb-macos-26-2-2026-11-23-{found.id[:8]}.json"
    said = capsys.readouterr().out
    assert f"git add findings/{file.name}" in said and "2 experiments, 1 kept" in said
