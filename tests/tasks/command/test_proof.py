from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import SandboxError
from autoresearch.tasks.command import proof
from testbed.declared import FILES, TOML, declare, opened
from testbed.toy import git

HIDING = TOML.replace("timeout_s = 20", 'hide = ["labels"]')


def test_a_copy_of_what_is_hidden_is_found(tmp_path: Path) -> None:
    told = "the labels of the twenty cases\n"
    files = {**FILES, "labels": told, "b/cache": told, "short": "1", "other": "1", "store/v2": "what the link names"}
    folder = declare(
        tmp_path / "task", files, task_toml=TOML.replace("timeout_s = 20", 'hide = ["labels", "short", "x*"]')
    )
    (folder / "x1").symlink_to("store/v2")
    (folder / "x2").symlink_to("store")
    (folder / "seen").symlink_to("labels")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "links")
    assert proof.copies(opened(folder).base) == {"labels": "b/cache", "x1": "store/v2", "x2": "store/v2"}


def test_a_sandbox_that_hides_too_little_is_refused(tmp_path: Path) -> None:
    folder = declare(tmp_path / "task", {**FILES, "labels": "1"}, task_toml=HIDING)
    task, state = opened(folder, confined=True), folder / ".autoresearch"
    if not task.confined:
        pytest.skip("no sandbox here")
    careless = replace(task.bench.confinement, hide=(), read=(folder,))
    bench = replace(task.bench, confinement=careless)
    name = careless.sandbox.name
    with pytest.raises(SandboxError, match=rf"{name} does not confine as it should: .*labels can be read"):
        proof.prove(bench, task.base, folder, state)
    assert proof.readable(bench, task.base, folder, state / "x")["labels"][0] == str(folder / "labels")
    assert not (state / "proof").exists() and not (state / "x").exists()
