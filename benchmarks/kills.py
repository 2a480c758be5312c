"""What does kill -9 cost? Kills a tiny night at random moments and looks at what the next start finds.

    uv run benchmarks/kills.py [--kills 30] [--seed 0]

The night is real (two children a run, git, journal) on the tests' toy task, one second of training a run. After each
kill the journal's last event says where it struck; after the last one a session runs to its end. Checked each time: no
decided result changed, every line but a torn last one parses, the repository is sound, results.tsv and the tree agree.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from autoresearch.record import journal
from testbed.toy import make_repository, write_toy_data

TASK = ("--proposer", "tuner", "--dataset", "toy", "--profile", "tiny", "--time-budget", "1")


# More constants than the toy has, so that the tuner does not run out of ideas during the night.
RICHER = {
    "LR = 0.01": "BETA1 = 0.9\nBETA2 = 0.95\nFLOOR = 0.1\nROWS = 16\nLR = 0.01",
    "optim.Adam(LR)": "optim.Adam(LR, betas=[BETA1, BETA2])",
    "(1 - run.progress)": "(FLOOR + (1 - FLOOR) * (1 - run.progress))",
    "run.batches(16)": "run.batches(ROWS)",
}


def enrich(root: Path) -> None:
    source = (root / "train_mlx.py").read_text()
    for old, new in RICHER.items():
        source = source.replace(old, new)
    (root / "train_mlx.py").write_text(source)
    subprocess.run(["git", "commit", "-q", "-am", "more constants"], cwd=root, check=True)


def start(root: Path, env: dict[str, str], *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "loop.py", *TASK, *more]
    return subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def found(root: Path, decided: dict[int, str]) -> tuple[dict[int, str], str]:
    """The decided results and the last event; raises AssertionError where something decided was lost."""
    paths = list((root / "runs").glob("*/journal.jsonl"))
    if not paths:
        return decided, "nothing written yet"
    lines = paths[0].read_text().splitlines()
    night = journal.read(paths[0].parent)
    now = {x.n: f"{x.verdict} {x.estimate} {x.blob}" for x in night.decided}
    assert decided.items() <= now.items(), "a decided result was lost"
    subprocess.run(["git", "fsck", "--no-dangling"], cwd=root, check=True, capture_output=True)
    complete = [line for line in lines if line.endswith("}")]
    return now, "after `" + json.loads(complete[-1])["type"] + "`" + ("" if len(complete) == len(lines) else ", torn")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, decided = random.Random(args.seed), dict[int, str]()
    where, said = collections.Counter[str](), collections.Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_toy_data(folder / "cache" / "data" / "toy" / "tiny")
        root = make_repository(folder / "repository")
        enrich(root)
        env = {**os.environ, "AUTORESEARCH_CACHE": str(folder / "cache")}
        for _ in range(args.kills):
            process = start(root, env)
            time.sleep(rng.uniform(0.3, 7.0))
            process.kill()
            output, _ = process.communicate()
            said.update(word for word in ("going on with it", "not tried again") for _ in range(output.count(word)))
            decided, moment = found(root, decided)
            where[moment] += 1
        last = start(root, env, "--experiments", "2")
        output, _ = last.communicate(timeout=300)
        decided, _ = found(root, decided)
        clean = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True).stdout
        night = journal.read(next((root / "runs").glob("*/journal.jsonl")).parent)
    print(f"{args.kills} kills; {night.sessions} sessions; {len(decided)} results decided, none lost or changed")
    print("\n| the kill struck | times |\n| --- | ---: |")
    print("\n".join(f"| {moment} | {count} |" for moment, count in where.most_common()))
    quarantined = sum(x.status == "quarantined" for x in night.experiments.values())
    print(f"\nfound at a restart: an unfinished experiment gone on with {said['going on with it']} times, ", end="")
    print(f"{quarantined} cut off twice and set aside; exit code of the last session {last.returncode}")
    print(f"tree and branch agree: {clean or 'yes'}")
    return 0 if last.returncode == 0 and not clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
