"""How large is the morning report, and how long does it take? Nights of up to a thousand experiments.

    uv run benchmarks/pages.py

Nights of testbed/nights.py; sources are the real trainer's, so that diffs have their usual length to search.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from common import arguments, report

from autoresearch.report import page, page_night, progress_chart
from testbed import nights

TRAINER = (ROOT / "train_mlx.py").read_text()


def source_of(n: int) -> str:
    """The trainer, with a line of its own for every experiment."""
    return TRAINER.replace("\n\n\n", f"\n\nEXTRA = {n}\n\n\n", 1)


def main() -> int:
    args = arguments(__doc__).parse_args()
    rows: list[dict[str, Any]] = []
    for experiments in (12, 100) if args.quick else (12, 100, 300, 1000):
        night = nights.night(experiments)
        began, used = time.perf_counter(), time.process_time()
        html = page.render(night, source_of)
        rendered, cpu = time.perf_counter() - began, time.process_time() - used
        began = time.perf_counter()
        png = progress_chart.progress_png(page_night.progress_picture(night))
        rows.append(
            {
                "experiments": experiments,
                "report.html kB": len(html.encode()) / 1024,
                "render s": rendered,
                "cpu s": cpu,
                "progress.png kB": len(png) / 1024,
                "png s": time.perf_counter() - began,
            }
        )
    return report(rows, args)


if __name__ == "__main__":
    raise SystemExit(main())
