"""Set up a toy task that trains in a second, and a repository with a toy candidate as its editable file."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autoresearch import jsonable
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import DataFolder
from autoresearch.system import machine
from autoresearch.system.sandbox import Sandbox, select
from autoresearch.tasks.gpt.data import prepared
from autoresearch.tasks.gpt.data.prepared import Meta, Split, StoredFile
from autoresearch.tasks.gpt.workbench import harness

ROOT = Path(__file__).resolve().parent.parent
HONEST = ROOT / "testbed" / "toy_trainer.py"
VOCAB, SEQ_LEN = 64, 64
OWN_FILES = ("token_bytes.npy", "tokenizer.json", "train.u16", "eval/val.u16", "eval/test.u16")
META = Meta(
    version=prepared.VERSION,
    dataset="toy",
    source="a noisy counter",
    profile="tiny",
    fingerprint="toy0" * 4,
    seq_len=SEQ_LEN,
    vocab_size=VOCAB,
    bos_id=60,
    eval_tokens=64 * SEQ_LEN,
    eval_rows=32,
    budget_s=1.0,
    splits={},
)


def write_toy_data(folder: Path, *, budget_s: float = 1.0) -> Path:
    """Write a data set in corpus.py's layout: 64 tokens, rows of a noisy counter that a bigram model can learn."""
    (folder / "eval").mkdir(parents=True)
    rng = np.random.default_rng(0)
    splits = {}
    for name, file, rows in (
        ("train", "train.u16", 2000),
        ("val", "eval/val.u16", 64),
        ("test", "eval/test.u16", 64),
    ):
        tokens = (np.cumsum(rng.integers(0, 3, (rows, SEQ_LEN + 1)), axis=1) % 60).astype("<u2")
        tokens[:, 0] = 60
        tokens.tofile(folder / file)
        splits[name] = Split(file=file, rows=rows, bytes=tokens.nbytes)
    token_bytes = np.ones(VOCAB, dtype=np.int32)
    token_bytes[60:] = 0
    np.save(folder / "token_bytes.npy", token_bytes)
    ranks = {"pattern": ".", "special": {f"<|special_{i}|>": 60 + i for i in range(4)}, "ranks": []}
    (folder / "tokenizer.json").write_text(json.dumps(ranks))
    meta = replace(META, budget_s=budget_s, splits=splits)
    (folder / "meta.json").write_bytes(jsonable.to_json(meta))
    return folder


def write_own_data(folder: Path) -> Path:
    """Write the toy data as a person's own text that was prepared, with hashes and fingerprint."""
    write_toy_data(folder)
    meta = prepared.load_meta(folder)
    hashes = {path: hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in OWN_FILES}
    files = {path: StoredFile(bytes=(folder / path).stat().st_size, sha256=hashes[path]) for path in OWN_FILES[:2]}
    splits = {name: replace(split, sha256=hashes[split.file]) for name, split in meta.splits.items()}
    meta = replace(
        meta,
        dataset=folder.parent.name,
        argument="/home/me/secret place/notes",
        source="/home/me/secret place/notes (2 files)",
        request={"version": prepared.VERSION, "files": 2, "state": "5f2a"},
        files=files,
        splits=splits,
        train_mtime_ns=(folder / "train.u16").stat().st_mtime_ns,
        fingerprint=prepared.fingerprint(asdict(meta), hashes),
    )
    (folder / "meta.json").write_bytes(jsonable.to_json(meta))
    return folder


def toy_bench(data: Path, budget_s: float = 1.0, sandbox: Sandbox | None = None, **changes: Any) -> Workbench:
    """Return a workbench with this checkout's harness, by default in this machine's sandbox if there is one."""
    patient = {"overtime_s": 30.0, "free_build_s": 60.0}  # however loaded the machine is
    settings = {"env": {"MLX_DISABLE_COMPILE": "1"}, **patient, **changes}
    return Workbench(harness(ROOT), DataFolder(data), budget_s, sandbox or select(allow_none=True), **settings)


@cache
def this_machine() -> machine.Facts:
    """Return the facts of this machine, which a Mac takes about a second to find."""
    return machine.facts()


def git(root: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True).stdout


def make_repository(root: Path) -> Path:
    """Copy the project's fixed files, with the toy as the editable file, into a repository with one commit on main."""
    root.mkdir(parents=True)
    for name in ("prepare.py", "loop.py", "program.md", "results.tsv", ".gitignore", ".gitattributes"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "autoresearch", root / "autoresearch")  # with what is compiled, which git ignores
    shutil.copy(HONEST, root / "train_mlx.py")
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "A Person")
    git(root, "config", "user.email", "person@example.com")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "start")
    return root
