"""Be a training that only waits, and keep its own record, which no code of the package has a hand in.

    python -I -S fleet_training.py FOLDER JOB SEED PURPOSE WIDTH RUN_S RESULT

FOLDER is the member's. It gets trainings.jsonl, which is appended to and never changed: {"what": "start", "uid", "pid",
"job", "seed", "purpose", "mono", "wall"}, then "alive" every BEAT_S seconds, and "end" with the score, each with the
time. The score holds noise of this very process, so that no other run has the same. FOLDER/training.lock is held
throughout: a training that finds it held notes which one it runs beside. The system lets go of it however this ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import sys
import time

BEAT_S = 0.2


def main(folder: str, job: str, seed: str, purpose: str, width: str, run_s: str, result: str) -> int:
    began, uid = time.monotonic(), os.urandom(6).hex()
    log = os.open(os.path.join(folder, "trainings.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)  # noqa: PTH118
    lock = os.open(os.path.join(folder, "training.lock"), os.O_RDWR | os.O_CREAT)  # noqa: PTH118

    def note(what: str, **more: object) -> None:
        line = {"what": what, "uid": uid, "mono": time.monotonic(), "wall": time.time(), **more}
        os.write(log, json.dumps(line).encode() + b"\n")

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(lock, 0)
        os.pwrite(lock, uid.encode(), 0)
    except BlockingIOError:
        note("beside", other=os.pread(lock, 12, 0).decode())
    note("start", pid=os.getpid(), job=job, seed=int(seed), purpose=purpose)
    while (left_s := began + float(run_s) - time.monotonic()) > 0:
        time.sleep(min(left_s, BEAT_S))
        note("alive")
    best = int(os.environ.get("BEST_WIDTH", "60"))
    score = 2.0 + 0.02 * abs(int(width) - best) + random.SystemRandom().gauss(0, 0.01)
    note("end", score=score)
    with contextlib.suppress(OSError), open(result, "w") as file:  # noqa: PTH123 - the member may have gone
        file.write(repr(score))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
