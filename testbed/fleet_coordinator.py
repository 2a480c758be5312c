"""Be the coordinator of a fleet whose members only wait, with real journals, branches and decisions.

python -m testbed.fleet_coordinator ADDRESS ROOT EXPERIMENTS TTL_S
"""

from __future__ import annotations

import io
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoresearch.candidate import constants
from autoresearch.fleet import address
from autoresearch.fleet.admission import Welcome
from autoresearch.fleet.dask_pool import DaskPool
from autoresearch.fleet.pool import Pool
from autoresearch.loop.fleet_night import Fleet
from autoresearch.loop.session import Options
from autoresearch.paths import Layout
from autoresearch.records import Context, Proposal, Set
from autoresearch.report.console import PlainView
from autoresearch.search.proposer import BaseProposer
from autoresearch.system.exits import exit_code
from testbed.given import GivenTask
from testbed.starter import ALONE, serve
from testbed.toy import META, this_machine

ONE_GOOD_IN = "ONE_GOOD_IN"  # in the environment: one of how many ideas is good
VERSIONS = {"mlx": "1", "harness": "h"}


class Steps(BaseProposer):
    """Proposer of other values of WIDTH, near the incumbent's, none of which was tried; an idea takes `idea_s`."""

    name = "steps"
    idea_s = 0.0

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        time.sleep(self.idea_s)
        now = int(constants.read(context.source)["WIDTH"])
        seen = {source for trial in context.history for source in (trial.source, trial.parent_source)}
        tried = {constants.read(source)["WIDTH"] for source in seen}
        new = [w for w in range(1, 4000) if w != now and w not in tried]
        chosen = sorted(new, key=lambda w: (abs(w - now - 3), w))[:n]
        return [Proposal((Set("WIDTH", str(w)),), f"WIDTH {w}", "", "width", self.name) for w in chosen]


@dataclass
class Rare(BaseProposer):
    """Proposer one in `one_in` of whose ideas is good: WIDTH two steps towards 60; the others are far beyond."""

    name = "rare"
    one_in: int
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        tried = {int(constants.read(trial.source)["WIDTH"]) for trial in context.history}
        best = int(constants.read(context.source)["WIDTH"])
        ideas = []
        for _ in range(n):
            good = best + 2 if best + 2 not in tried else best + 3
            wanted = good if self.rng.random() < 1 / self.one_in else self.rng.randrange(100, 4000)
            tried.add(wanted)
            ideas.append(Proposal((Set("WIDTH", str(wanted)),), f"WIDTH {wanted}", "", "width", self.name))
        return ideas


class LedTask(GivenTask):
    """Training of which nothing runs here."""

    @property
    def versions(self) -> Mapping[str, str]:
        return VERSIONS

    def first_commits(self, branch: Any, say: Any) -> None:
        """Commit nothing."""


def fleet(root: Path, pool: Pool, said: list[str], **options: Any) -> Fleet:
    """Return a fleet on the toy repository at `root`; what it says is appended to `said`."""
    one_in = int(os.environ.get(ONE_GOOD_IN, "1"))
    return Fleet(
        root=root,
        tag="fleet",
        task=task(root),
        pool=pool,
        options=Options(**options),
        view=lambda key: PlainView(io.StringIO()),
        propose_with=lambda facts: Rare(one_in) if one_in > 1 else Steps(),
        say=said.append,
    )


def task(root: Path) -> LedTask:
    bench: Any = type("Bench", (), {"budget_s": 1.0})
    return LedTask(Layout(root, "fleet"), bench, META, this_machine())


def main(line: str, root: str, experiments: str, ttl_s: str) -> int:
    os.environ["MLX_DISABLE_COMPILE"] = "1"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    where, here = address.parse(line), task(Path(root))
    pool = DaskPool(where, Welcome(here.facts, VERSIONS), print, ttl_s=float(ttl_s))
    try:
        print(fleet(Path(root), pool, [], experiments=int(experiments)).run(), flush=True)
    finally:
        pool.close("the night has ended")
    return 0


def program(*given: str) -> int:
    return exit_code(lambda: main(*given), "stopped")


if __name__ == "__main__":
    import distributed  # noqa: F401 - here, before a fork, as what follows
    import matplotlib.pyplot  # noqa: F401

    import autoresearch.report.page  # noqa: F401

    if sys.argv[-1] == ALONE:
        raise SystemExit(program(*sys.argv[1:-1]))
    raise SystemExit(serve(lambda: program(*sys.argv[1:]), Path(sys.argv[2]).parent / "said.txt"))
