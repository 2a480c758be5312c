"""A person's version of the editable file: what follows the night, what differs, and what cannot be measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.candidate.pack import pack, unpack
from autoresearch.errors import UsageError
from autoresearch.loop import own_file
from autoresearch.loop.own_file import OwnFile
from autoresearch.tasks.gpt.data.profiles import TINY
from testbed.toy import HONEST, ROOT, git

TREE = "DEPTH = 8\nLR = 0.01\nNAME = 'a'\n"


def test_only_what_the_person_changed_differs_from_the_night() -> None:
    own, best = OwnFile("DEPTH = 8\nLR = 0.02\nNAME = 'a'\nNEW = 1\n", TREE), "DEPTH = 4\nLR = 0.03\nNAME = 'a'\n"
    measured = own.fitted(best)
    assert measured == "DEPTH = 4\nLR = 0.02\nNAME = 'a'\nNEW = 1\n"
    assert own_file.differences(own, measured, best, "nov27")[:2] == [
        "taken from the night, since you have not changed them: DEPTH = 4 (--as-is keeps yours)",
        "constants that differ from the night's best: LR 0.03 → 0.02, NEW absent → 1",
    ]


def test_a_version_made_from_the_nights_best_stays_as_it_is() -> None:
    best = "DEPTH = 4\nLR = 0.03\n"
    own = OwnFile("DEPTH = 8\nLR = 0.03\n", best)  # on the night's branch that is what is committed
    assert own.fitted(best) == own.source and own.followed(best) == {}


def test_code_that_the_night_has_kept_is_pointed_to() -> None:
    own, best = OwnFile("LR = 0.02\n", "LR = 0.01\n"), "LR = 0.01\nprint()\n"
    assert "git show autoresearch/nov27:train_mlx.py" in own_file.differences(own, own.source, best, "nov27")[-1]


@pytest.mark.parametrize("source", ["def broken(:", "\0", "DEPTH = 8\n" * 2, "DEPTH = None\nDEPTH: int = 3\n", ""])
def test_a_version_that_cannot_be_fitted_is_left_alone(source: str) -> None:
    assert OwnFile(source, "DEPTH = 8\n").fitted("DEPTH = 4\n") == source


@given(st.text(), st.text())
def test_any_text_can_be_looked_at(source: str, made_from: str) -> None:
    assert isinstance(OwnFile(source, made_from).fitted("DEPTH = 4\nNAME = 'a'\n"), str)


@pytest.mark.slow
def test_a_copy_of_the_tree_on_the_tiny_profile_is_measured_with_the_tiny_models_constants(tmp_path: Path) -> None:
    tree = (ROOT / "train_mlx.py").read_text()
    best = own_file.expected_best(tmp_path, "nov27", tree, TINY.constants)
    own = OwnFile(tree.replace("MATRIX_LR = 0.04", "MATRIX_LR = 0.05"), tree)
    assert own.source != tree
    assert own_file.differences(own, own.fitted(best), best, "nov27")[-1].endswith(": MATRIX_LR 0.04 → 0.05")


def test_what_computes_the_same_or_breaks_the_contract_is_refused(tmp_path: Path) -> None:
    honest = HONEST.read_text()
    with pytest.raises(UsageError, match=r"x\.py computes what the night's best version computes"):
        own_file.refusal(honest + "# a remark\n", honest, Path("x.py"))
    assert own_file.refusal(honest.replace("LR = 0.01", "LR = 0.02"), honest, Path("x.py")) is None
    assert "import os" in (own_file.refusal("import os\n" + honest, honest, Path("x.py")) or "")


@pytest.mark.slow
def test_a_file_that_is_not_there_is_a_usage_error(repository: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long.py").write_bytes(b"#" * 2**21)
    for name, why in (
        ("nowhere.py", "there is no such file"),
        ("pipe", "is not a file"),
        ("long.py", "2,097,152 bytes"),
    ):
        with pytest.raises(UsageError, match=why):
            own_file.read(repository, tmp_path / name)
    for path in (Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="is not a file"):
            own_file.read(repository, path)


# --- of a declared task -----------------------------------------------------------------------------------------------

BEST = pack({"query.sql": "SELECT 1;\n", "sub/indexes.sql": ""})


def test_one_file_or_a_folder_takes_the_place_of_the_task_s(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "indexes.sql").write_text("CREATE INDEX i ON t(a);\n")
    one = own_file.placed(own_file.files(tmp_path / "sub" / "indexes.sql"), BEST, tmp_path, tmp_path / "task")
    (tmp_path / "notes.txt").write_text("not of the task\n")
    (tmp_path / ".DS_Store").write_bytes(b"\0\xff")
    assert unpack(one) == {"query.sql": "SELECT 1;\n", "sub/indexes.sql": "CREATE INDEX i ON t(a);\n"}
    assert own_file.placed(own_file.files(tmp_path), BEST, tmp_path, tmp_path / "task") == one


def test_a_file_of_another_name_is_refused_where_there_are_several(tmp_path: Path) -> None:
    task, one = tmp_path / "task", pack({"query.sql": ""})
    task.mkdir()
    for path in ("better.sql", "Makefile", "task/reference.sql"):
        (tmp_path / path).write_text("SELECT 2;\n")
    git(task, "init", "-q")
    git(task, "add", "-A")
    git(task, "commit", "-qm", "start")

    def placed(path: str, best: str) -> dict[str, str]:
        return unpack(own_file.placed(own_file.files(tmp_path / path), best, tmp_path / path, task))

    with pytest.raises(UsageError, match=r"no file of the task, whose files are query\.sql, sub/indexes\.sql"):
        placed("better.sql", BEST)
    for path in ("Makefile", "task/reference.sql"):  # of another kind, and a fixed file
        with pytest.raises(UsageError, match="no file of the task"):
            placed(path, one)
    assert placed("better.sql", one) == {"query.sql": "SELECT 2;\n"}
