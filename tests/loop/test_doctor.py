"""The doctor on this machine, on recorded Macs, and on checkouts, disks and tools in every bad state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoresearch.loop import checkup, doctor
from autoresearch.loop.checkup import FINE, NOTE, PROBLEM, Check, Host
from autoresearch.records import Failure, Measurement
from autoresearch.system import awake, machine
from autoresearch.system import login as login_item
from autoresearch.system.load import Load
from autoresearch.system.locks import hold
from testbed.recorded import replay
from testbed.toy import ROOT, this_machine, write_toy_data

EMAIL = "config", "user.email"
HERE = this_machine()


def git(folder: Path, *args: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copyfile(ROOT / "pyproject.toml", root / "pyproject.toml")
    (root / "train_mlx.py").write_text("DEPTH = 4\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "start")
    return root


def host(root: Path, **changes: Any) -> Host:
    defaults: dict[str, Any] = {
        "facts": HERE,
        "cache": root.parent / "cache",
        "home": root.parent,
        "hub": lambda: False,
    }
    return Host(root, **(defaults | changes))


def mac(name: str, root: Path, extra: dict[tuple[str, ...], str] | None = None, **changes: Any) -> Host:
    """Return a recorded Mac with its lid open, FileVault off and automatic login, unless `extra` says otherwise."""
    answers = {
        awake.LID: "",
        doctor.FILEVAULT: "FileVault is Off.\n",
        doctor.AUTOMATIC_LOGIN: "somebody\n",
        ("git", "-C", str(root), *EMAIL): "t@example.org\n",
    }
    run = replay(name, answers | (extra or {}))
    return host(root, facts=machine.facts(run, "Darwin"), run=run, **changes)


def found(checks: Any, name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


# --- this machine ---


def test_this_machine_and_a_real_checkout(checkout: Path) -> None:
    measured = Measurement(1, 1.5, training_s=10.0, num_steps=90, tok_s=5000.0, peak_memory_mb=512.0)
    done = list(doctor.checks(host(checkout, model=lambda: (True, "qwen3.5:9b, the best"), train=lambda: measured)))
    assert all(
        check.level is FINE for check in done if check.name in ("python", "packages", "git", "disk", "model", "mlx")
    )
    assert done[-1] == Check(
        "training", FINE, "90 steps in 10 s, val_bpb 1.500, 5,000 tokens a second, peak memory 0.5 GB"
    )
    assert checkup.checks_exit_code(done) == int(any(check.level is PROBLEM for check in done))
    assert all(check.advice for check in done if check.level is PROBLEM)
    assert "mlx" in [check.name for check in done] and ("on Metal" in str(done) or "on the CPU" in str(done))


# --- the program and the checkout ---


def test_missing_and_old_packages_are_named(checkout: Path) -> None:
    wanted = ["no-such-package>=1", "numpy>=999", "numpy>=1.0", "pywin32>=1; sys_platform == 'win32'"]
    (checkout / "pyproject.toml").write_text(f"[project]\ndependencies = {wanted}\n")
    (check,) = doctor.check_packages(host(checkout))
    assert check.level is PROBLEM and "uv sync" in check.advice and "make run" in check.advice
    assert "no-such-package is not installed" in check.message and ">=999 is needed" in check.message
    assert "win32" not in check.message


def test_no_repository_a_dirty_editable_file_a_detached_head(checkout: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    (check,) = found(doctor.checks(host(nowhere)), "repository")
    assert check.level is PROBLEM and "is not a git repository" in check.message
    git(checkout, "checkout", "-q", "--detach")
    assert next(iter(doctor.check_repository(host(checkout)))).level is NOTE
    git(checkout, "switch", "-q", "main")
    (checkout / "train_mlx.py").write_text("DEPTH = 5\n")
    check = next(iter(doctor.check_repository(host(checkout))))
    assert check.level is PROBLEM and "git commit" in check.advice


def test_a_missing_identity_is_told_and_stops_nothing(checkout: Path) -> None:
    run = {("git", "-C", str(checkout), *EMAIL): ""}
    checks = list(doctor.check_repository(mac("mac-mini-m4-pro", checkout, run)))
    assert [c.level for c in checks] == [FINE, NOTE] and "user.email" in checks[1].advice


def test_prepared_data_is_found_and_broken_data_named(checkout: Path) -> None:
    from autoresearch.tasks.gpt.data.profiles import default_profile

    cache = checkout.parent / "cache"
    folder = write_toy_data(cache / "data" / "stdlib" / default_profile())
    (check,) = doctor.check_data(host(checkout))
    assert check.level is FINE and "2000 rows" in check.message
    (folder / "train.u16").write_bytes(b"")
    (check,) = found(doctor.checks(host(checkout)), "data")
    assert check.level is PROBLEM and "prepare.py" in check.message + check.advice


@pytest.mark.parametrize(("hub", "word"), [(True, "climbmix"), (False, "offline corpus")])
def test_without_data_the_doctor_says_what_the_first_start_will_do(checkout: Path, hub: bool, word: str) -> None:
    (check,) = doctor.check_data(host(checkout, hub=lambda: hub))
    assert check.level is NOTE and word in check.message and "prepare.py" in check.advice


# --- recorded Macs ---


def test_a_mac_on_battery_with_everything_against_it(checkout: Path) -> None:
    p = mac("macbook-air-m4", checkout, {awake.LID: '"AppleClamshellCausesSleep" = Yes'})
    said = "\n".join(map(checkup.line, doctor.check_power(p)))
    assert all(word in said for word in ("on battery (77%)", "low-power mode", "keep the lid open", "trapping"))
    assert checkup.checks_exit_code(doctor.check_power(p)) == 0


def test_a_display_that_never_sleeps_is_named(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caffeinate").write_text("#!/bin/sh\n")
    (tmp_path / "caffeinate").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    settings = "Currently in use:\n sleep                1\n displaysleep         0\n"
    (check,) = found(doctor.check_power(mac("mac-mini-m4-pro", checkout, {machine.POWER: settings})), "sleep")
    assert check.level is NOTE and "displaysleepnow" in check.advice
    assert found(doctor.check_power(mac("mac-mini-m4-pro", checkout)), "sleep") == []


@pytest.mark.parametrize(
    ("filevault", "login", "words"),
    [
        ("FileVault is On.\n", "somebody\n", ["unlock screen"]),
        ("FileVault is Off.\n", "", ["login window"]),
        ("FileVault is Off.\n", "somebody\n", []),
    ],
)
def test_what_a_reboot_would_do(checkout: Path, filevault: str, login: str, words: list[str]) -> None:
    p = mac("mac-mini-m4-pro", checkout, {doctor.FILEVAULT: filevault, doctor.AUTOMATIC_LOGIN: login})
    alone, *before = doctor.check_reboot(p)
    assert alone.level is NOTE and "loop.py install" in alone.advice
    login_item.install(checkout, [sys.executable, "loop.py"], home=p.home, system="Darwin")
    first, *rest = doctor.check_reboot(p)
    assert rest == before  # said before anything is installed as well
    assert first.level is FINE and [c.level for c in rest] == [NOTE] * len(words)
    assert all(word in c.message for word, c in zip(words, rest, strict=True))
    assert "somebody" not in str(rest)


@pytest.mark.parametrize("place", ["Documents", "Desktop/work", "Library/Mobile Documents/com~apple~CloudDocs"])
def test_a_checkout_in_a_guarded_or_synced_folder(tmp_path: Path, place: str) -> None:
    root = tmp_path / place / "metal"
    root.mkdir(parents=True)
    (check,) = doctor.check_folder(replace(mac("mac-mini-m4-pro", root), home=tmp_path))
    assert check.level is NOTE and check.advice == f"mv {root} {tmp_path / 'metal'}"
    fine = tmp_path / "metal"
    fine.mkdir()
    (check,) = doctor.check_folder(replace(mac("mac-mini-m4-pro", fine), home=tmp_path))
    assert check.level is FINE


def test_little_free_memory_is_told(checkout: Path) -> None:
    p = mac("mac-mini-m4-pro", checkout)
    tight = replace(p, facts=replace(p.facts, free_memory_mb=4096))
    (check,) = found(doctor.check_power(tight), "memory")
    assert check.level is NOTE and check.message == "4.0 of 24 GB free, 11.7 GB swapped out"


# --- what runs a candidate ---


def test_a_training_that_fails_is_in_the_way(checkout: Path) -> None:
    failed = Measurement(1, failure=Failure("memory", "[metal::malloc] too large"))
    (check,) = doctor.check_training(host(checkout, train=lambda: failed))
    assert check.level is PROBLEM and "memory: [metal::malloc] too large" in check.message


def test_without_a_model_the_tuner_goes_alone(checkout: Path) -> None:
    (check,) = doctor.check_local_model(host(checkout, model=lambda: (False, "no local model: nothing fits")))
    assert check.level is NOTE and "tuner" in check.advice


def test_a_busy_machine_is_told_with_what_to_do(checkout: Path) -> None:
    (check,) = doctor.check_load(host(checkout, load=lambda: Load(1.9, 2, (("clang", 1.5),))))
    assert check.level is NOTE and "1.9 of 2 cores (clang 1.5)" in check.message and "quiet" in check.advice
    (check,) = doctor.check_load(host(checkout, load=lambda: Load(0.1, 2)))
    assert check.level is FINE and check.advice == ""


def test_it_does_not_train_beside_a_night_and_says_whose(checkout: Path, tmp_path: Path) -> None:
    lock = tmp_path / "machine.lock"

    def train() -> Measurement:
        with hold(lock, "this machine"):
            raise AssertionError("unreachable")

    with hold(lock, "this machine"):
        (check,) = doctor.check_training(host(checkout, train=train))
    assert check.level is NOTE and f"process {os.getpid()}" in check.message
