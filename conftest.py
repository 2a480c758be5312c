"""How pytest runs here, and the fixtures of several test files."""

from __future__ import annotations

import compileall
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, settings

from autoresearch.decide import earlier_nights, kinds
from autoresearch.decide.noise import Noise
from autoresearch.records import TaskFacts
from autoresearch.system import invocation
from testbed.toy import ROOT, make_repository, this_machine, write_toy_data

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("any machine")
    os.environ["MLX_ENABLE_TF32"] = "0"  # or an M5 and CUDA multiply float32 with ten bits, and NumPy with 23
    # A shell that starts pytest with & has SIGINT ignored, and every child of a test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Compiled once, for hundreds of processes that import the package or a copy of it, and for the next pytest.
    sys.dont_write_bytecode = False
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "autoresearch", quiet=1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run single files in this process, where `--pdb` and `-s` work, and folders in two, or five with slow tests.

    Many of the slow ones wait; each process imports all test files, which takes it longer than most of the others.
    """
    if all(Path(argument.partition("::")[0]).is_file() for argument in config.args):
        return 0
    return 2 if "not slow" in config.option.markexpr else 5


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The slow ones first: no worker is left with a long test at the end.
    items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.fixture(scope="session", autouse=True)
def git_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give git an identity, whatever this machine's configuration is."""
    config = tmp_path_factory.mktemp("git") / "config"
    config.write_text("[user]\nname = A Person\nemail = person@example.com\n[init]\ndefaultBranch = main\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(config))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def started_through_uv() -> Iterator[None]:
    """Let hints name `uv run`, however pytest was started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV", "/usr/bin/uv")
        yield


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """Turn MLX's compiler off, for tests of what is computed and not of how fast."""
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(autouse=True)
def no_task_is_named() -> Iterator[None]:
    """Forget the declared task that a test named: messages of the next one would name it."""
    yield
    invocation.set_task(None)


@pytest.fixture
def toy_data(tmp_path: Path) -> Path:
    return write_toy_data(tmp_path / "cache" / "data" / "toy" / "tiny")


@pytest.fixture
def toy_cache(toy_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the toy's cache the one of this machine, and let children not compile their steps.

    The machine's noise is known there, so two runs of a baseline are enough.
    """
    cache = toy_data.parents[2]
    known = cache / "machines" / this_machine().slug() / "noise.json"
    task = TaskFacts(dataset="toy", profile="tiny", fingerprint="toy0" * 4, budget_s=1.0)
    earlier_nights.save(known, task, "earlier", Noise(0.02, kinds.KNOWN_DF), [])
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    return cache


@pytest.fixture(scope="session")
def new_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("new") / "repository")


@pytest.fixture
def repository(tmp_path: Path, new_repository: Path) -> Path:
    """Copy the new repository: that takes a fifth of the time of making one."""
    return shutil.copytree(new_repository, tmp_path / "repository")
