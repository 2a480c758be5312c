"""Preparation in stages: kills, neighbours, full disks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoresearch.tasks.gpt.data import corpus, prepared
from testbed.texts import COMMAND, command, copied, finished, invented
from testbed.toy import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_kill_at_any_moment_then_the_same_data(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = own
    fingerprint = prepared.load_meta(folder).fingerprint
    rng = random.Random(0)
    start = time.monotonic()
    corpus.prepare(str(text), "tiny", cache=tmp_path / "once", report=lambda line: None)
    usual_s = 0.3 + time.monotonic() - start
    cache = tmp_path / "cache"
    for _ in range(5):
        process = command("--dataset", str(text), "--profile", "tiny", AUTORESEARCH_CACHE=str(cache))
        time.sleep(rng.uniform(0.2, usual_s))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = corpus.locate(str(text), "tiny", cache)
        assert found is None or prepared.verify(found).fingerprint == fingerprint
        if found:
            subprocess.run(["rm", "-r", str(found)], check=True)
    ready = corpus.prepare(str(text), "tiny", cache=cache, report=lambda line: None)
    assert prepared.verify(ready).fingerprint == fingerprint
    assert sorted(path.name for path in ready.parent.iterdir()) == [".tiny.lock", "tiny"]


def stop_after(stage: str, text: Path, cache: Path) -> None:
    """Prepare until a stage is reported, and then stop as Ctrl-C does."""

    def report(line: str) -> None:
        if line.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus.prepare(str(text), "tiny", cache=cache, report=report)


def test_finished_stages_are_kept(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = own
    for stage, kept in (("tokenizer", []), ("val, test", ["tokenizer"]), ("train", ["tokenizer", "held_out"])):
        stop_after(stage, text, tmp_path)
        state = tmp_path / "data" / folder.parent.name / ".tiny.partial" / "state.json"
        assert (list(json.loads(state.read_text())["stages"]) if state.exists() else []) == kept
    said: list[str] = []
    ready = corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert said[1] == "continuing after: tokenizer, held_out"
    assert prepared.verify(ready).fingerprint == prepared.load_meta(folder).fingerprint


def test_changed_text_does_not_continue_old_work(own: tuple[Path, Path], tmp_path: Path) -> None:
    text = tmp_path / "text"
    subprocess.run(["cp", "-r", str(own[0]), str(text)], check=True)
    stop_after("val, test", text, tmp_path / "cache")
    (text / "new.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in invented(30, 11)))
    said: list[str] = []
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert not any(line.startswith("continuing") for line in said)


def test_killed_between_the_last_stage_and_the_rename(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = copied(own, tmp_path)
    folder.rename(folder.with_name(".tiny.partial"))
    assert corpus.locate(str(text), "tiny", tmp_path / "cache") is None
    said: list[str] = []
    assert corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append) == folder
    assert "is ready" in said[0]
    folder.with_name(".tiny.partial").mkdir()  # a killed --force leaves such a folder
    folder.with_name(".tiny.old").mkdir()
    corpus.prepare(str(text), "tiny", cache=tmp_path / "cache", report=said.append)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".tiny.lock", "tiny"]


def test_two_at_once_prepare_once(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, folder = own
    both = [command("--dataset", str(text), "--profile", "tiny", AUTORESEARCH_CACHE=str(tmp_path)) for _ in range(2)]
    ended = [finished(process) for process in both]
    assert [code for code, _, _ in ended] == [0, 0], ended
    outputs = sorted((out for _, out, _ in ended), key=len)
    assert "is ready" in outputs[0]
    assert "prepared in" in outputs[1]
    ready = corpus.locate(str(text), "tiny", tmp_path)
    assert ready is not None
    assert prepared.verify(ready).fingerprint == prepared.load_meta(folder).fingerprint


def test_a_full_disk_is_said_and_the_same_command_continues(own: tuple[Path, Path], tmp_path: Path) -> None:
    text, _ = own
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    arguments = ["--dataset", str(text), "--profile", "tiny"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AUTORESEARCH_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", limit + COMMAND, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "File too large" in done.stderr
    assert "GB free. Make room" in done.stderr
    said: list[str] = []
    corpus.prepare(str(text), "tiny", cache=tmp_path, report=said.append)
    assert said[1] == "continuing after: tokenizer, held_out"
