"""Several nights side by side: what is compared, what is claimed, what is warned of, and what a person sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch.findings import compare
from testbed.night_builder import EXACT, M1, M4, A, B, NightBuilder, set_to, shared

# --- what is claimed --------------------------------------------------------------------------------------------------


def test_shared_changes_and_whether_they_agree() -> None:
    rows = {row.change: row for row in compare.compare([A, B]).shared}
    told = {change: (row.exact, row.agreement) for change, row in rows.items()}
    assert told["DEPTH 2 → 4"] == (True, "same direction")
    assert told["code in MLP.__call__"] == (True, "opposite")  # the same change to two different files
    assert told["LR 0.01 → 0.02"][0] and told["LR 0.01 → 0.02"][1] != "same direction"
    cells = rows["code in MLP.__call__"].cells
    assert [cell.verdict for cell in cells if cell] == ["keep", "discard"]
    assert cells[0] is not None and cells[0].effect is not None and cells[0].effect.gain_score == pytest.approx(0.05)
    assert "WIDTH 32 → 96" in rows and rows["WIDTH 32 → 96"].agreement == "no intervals"  # it crashed in both


def test_one_constant_moved_the_same_way_is_kin() -> None:
    first, second = NightBuilder(M4, sigma_score=EXACT), NightBuilder(M1, sigma_score=EXACT)
    first.candidate(set_to("DEPTH", 4), 0.1, "keep")
    second.candidate(set_to("DEPTH", 6), 0.2, "keep")
    (row,) = compare.compare([shared(first), shared(second)]).shared
    assert (row.change, row.exact, row.agreement) == ("DEPTH up", False, "same direction")


def test_the_first_try_speaks_for_a_night_not_the_luckiest() -> None:
    made = NightBuilder(sigma_score=EXACT)
    for gain in (-0.01, 0.04):
        made.candidate(set_to("DEPTH", 4), gain, "discard")
    rows = compare.compare([shared(made), A]).shared
    cell = next(row.cells[0] for row in rows if row.change == "DEPTH 2 → 4")
    assert cell is not None and cell.n == 1


# --- the figures ------------------------------------------------------------------------------------------------------


def test_gains_are_by_own_baseline_and_sigma() -> None:
    made = NightBuilder(baseline_score=2.0, sigma_score=EXACT)
    made.candidate(set_to("DEPTH", 4), 0.2, "keep")
    made.candidate(set_to("DEPTH", 6), -0.1, "discard")
    made.candidate(set_to("LR", 0.02), 0.1, "keep")
    found = replace(shared(made), sigma_score=0.05)
    row = compare.compare([found]).nights[0]
    steps = [
        (p.experiment, round(p.score, 4), round(p.gain_percent, 3), round(p.gain_sigma or 0, 3)) for p in row.trajectory
    ]
    first, second = found.findings[1].score, found.findings[3].score  # the pseudo-run moves them a little
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
    assert paid["depth"][0].gain_score == pytest.approx(0.1) and paid["width"][0].crashed == 1
    assert found.nights[0].best.peak_memory_mb == 4000.0 and found.nights[0].best.tok_s == 128_000


def test_what_forbids_comparing_is_said() -> None:
    other = replace(A, task=replace(A.task, fingerprint="f" * 16), versions={**A.versions, "mlx": "0.40.0"})
    battery = replace(A, machine=replace(A.machine, power="battery"))
    told = "\n".join(compare.compare([A, B, other, battery]).warnings)
    assert "fingerprint: 0123456789abcdef in A B D, ffffffffffffffff in C; the data differ" in told
    assert "budget_s: 300 in A C D, 600 in B" in told and "another budget is another question" in told
    assert "the MLX versions differ: 0.32.4 in A B D, 0.40.0 in C" in told and "D: on battery at the start" in told
    assert "all: sigma rests on fewer than 6 degrees of freedom" in told
    assert not [w for w in compare.compare([A, A]).warnings if "differ" in w]


def test_letters_go_on() -> None:
    assert [compare.letter(i) for i in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
