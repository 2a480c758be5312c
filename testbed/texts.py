"""Write a user's own text to prepare, and give the command that prepares it."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoresearch.errors import DataError
from autoresearch.tasks.gpt.data import corpus, prepared
from autoresearch.tasks.gpt.data.profiles import PROFILES
from testbed.toy import ROOT

TINY = PROFILES["tiny"]
COMMAND = (
    "import sys; from autoresearch.tasks.gpt.data.corpus import command_line; "
    "raise SystemExit(command_line(sys.argv[1:]))"
)


def invented(count: int, seed: int, words: int = 200) -> list[str]:
    """Return documents of words from a fixed vocabulary of 3,000."""
    spelling = random.Random(1)
    vocabulary = ["".join(spelling.choices("abcdefghijklmnoprstuvwy", k=spelling.randint(2, 8))) for _ in range(3000)]
    rng = random.Random(seed)
    return [" ".join(rng.choices(vocabulary, k=rng.randint(words // 4, 2 * words))) for _ in range(count)]


def parquet(texts: list[str], filler: int = 0) -> bytes:
    """Return a parquet file with a column `text`, and `filler` bytes of something else."""
    columns = {"text": texts}
    if filler:
        columns["filler"] = [random.Random(0).randbytes(filler // len(texts)) for _ in texts]
    raw = io.BytesIO()
    pq.write_table(pa.table(columns), raw, use_dictionary=False, compression="none")
    return raw.getvalue()


def write_own_text(folder: Path) -> Path:
    """Fill a folder with every kind of text file, and with files that preparation has to ignore."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "book.txt").write_text("\n\n".join(invented(60, 1)))
    (folder / "deep" / "Notes.MD").write_text("\n\n".join(invented(60, 2)))
    lines = [json.dumps({"text": text, "other": 1}) for text in invented(150, 3)]
    (folder / "deep" / "er" / "records.jsonl").write_text("\n".join(lines) + "\n\n")
    (folder / "shard_06542.parquet").write_bytes(parquet([*invented(150, 4), "", "   "]))
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "secret.txt").write_text("hidden " * 1000)
    (folder / ".draft.md").write_text("hidden " * 1000)
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


def copied(own: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copy the data into a cache of the test's own."""
    text, folder = own
    copy = tmp_path / "cache" / "data" / folder.parent.name / folder.name
    subprocess.run(["cp", "-r", str(folder.parents[2]), str(tmp_path / "cache")], check=True)
    return text, copy


def rows(folder: Path, split: str) -> np.ndarray:
    meta = prepared.load_meta(folder)
    return np.fromfile(folder / meta.splits[split].file, dtype="<u2").reshape(-1, meta.seq_len + 1)


def command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def refused(path: Path, tmp_path: Path) -> str:
    with pytest.raises(DataError) as caught:
        corpus.prepare(str(path), "tiny", cache=tmp_path / "cache", report=lambda line: None)
    return str(caught.value)
