from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.candidate import constants
from autoresearch.record.branch import Branch
from autoresearch.record.git import Repository
from autoresearch.tasks.gpt import first_commits
from autoresearch.tasks.gpt.data.prepared import load_meta
from autoresearch.tasks.gpt.data.profiles import TINY
from testbed.checkouts import PERSON, git
from testbed.toy import ROOT, write_toy_data

pytestmark = pytest.mark.slow


def test_the_constants_of_the_profile_are_committed_once(tmp_path: Path) -> None:
    (tmp_path / "train_mlx.py").write_bytes((ROOT / "train_mlx.py").read_bytes())
    git(tmp_path, "init", "-qb", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, *PERSON, "commit", "-qm", "start")
    repo, said = Repository.at(tmp_path), list[str]()
    branch = Branch.begin(repo, "nov23", repo.head())
    meta = replace(load_meta(write_toy_data(tmp_path / "data")), constants=TINY.constants)
    for _ in range(2):
        first_commits.from_profile(branch, meta, said.append)
    found = constants.literals(branch.read("train_mlx.py").decode())
    assert found["TOTAL_BATCH_SIZE"] == TINY.constants["TOTAL_BATCH_SIZE"]
    assert len(said) == 1 and said[0].startswith("constants of the tiny profile: ")
    assert repo.title(branch.tip()).endswith("Start from the tiny profile's constants")
