"""What may leave the machine: no path, no name, no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.candidate import constants
from autoresearch.candidate.pack import pack, unpack
from autoresearch.errors import BundleError
from autoresearch.findings import bundle, export
from autoresearch.findings.scrub import Scrubber, scrubber
from autoresearch.paths import Layout
from autoresearch.records import Proposal, SearchReplace
from testbed.honest import BASE
from testbed.night_builder import TASK, NightBuilder
from testbed.toy import git


def private_night(tmp_path: Path) -> tuple[NightBuilder, Path]:
    root = tmp_path / "anna" / "metal"
    root.mkdir(parents=True)
    git(root, "init", "-q")
    git(root, "config", "user.name", "Anna Quastenflosser")
    git(root, "config", "user.email", "anna@quastenflosser.example")
    made = NightBuilder(task={**TASK, "dataset": "diary-1f0c39ae", "source": "/Users/anna/diary.txt"})
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
    shared = export.read(Layout.of(made.write(root / "runs" / "nov23")))
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
    assert ".../adam.txt, '.../x.bin', .../moon.md" in kept.hypothesis  # the error stays readable


def test_a_secret_in_the_code_stops_the_export(tmp_path: Path) -> None:
    made, root = private_night(tmp_path)
    edit = SearchReplace("HEADS = 2  # attention heads", f'HEADS = 2\nNOTE = "{root}/notes.md"')
    made.candidate(Proposal((edit,), "a note", "", "other", "by hand"), 0.05)
    with pytest.raises(
        BundleError, match=r"experiment 2 cannot be shared: line \d+ of its source holds a private name"
    ):
        export.read(Layout.of(made.write(root / "runs" / "nov23")))


def test_names_that_are_words_of_the_field_are_no_secrets(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "Adam Weights")
    scrub = scrubber(tmp_path, BASE)
    assert scrub.line("Adam with new betas, by Weights", 80) == "Adam with new betas, by [private]"


def test_files_of_a_declared_task_are_scrubbed_one_by_one() -> None:
    scrub = Scrubber(frozenset({"Nobody Particular"}))
    files = {"a.css": "/* by Nobody Particular */\na { b: url(/img/x.png) }\n", "b.py": "# /tmp/private/x.py\nX = 1\n"}
    clean = unpack(scrub.source(pack(files), 1, ran=False))
    assert clean == {"a.css": "/* by [private] */\na { b: url(/img/x.png) }\n", "b.py": "# .../x.py\nX = 1\n"}
    with pytest.raises(BundleError, match="experiment 1 cannot be shared"):
        scrub.source(pack(files), 1, ran=True)  # of a style sheet nothing is known to be a comment
