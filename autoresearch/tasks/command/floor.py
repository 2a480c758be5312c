"""Try what an adversary or a lazy model would: versions that do nothing, and must not measure better than the baseline.

What a guard lets through is named, with the guard that would stop it.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from autoresearch.metrics import Metric
from autoresearch.records import Failure, Measurement, Purpose, Role
from autoresearch.tasks.command import proof, tree
from autoresearch.tasks.command.keys import split_source
from autoresearch.tasks.command.task import CommandTask
from autoresearch.tasks.task import RunOrder

TrickOutcome = Literal["refused", "no better", "better", "forgeable"]
MARGIN = 3.0  # times the difference of the baseline's two runs, by which a version has to be better
MOST_BYTES, MOST_LEFT = 200_000, 20  # of a file that is read for names of files in ./out; of such names
GARBAGE = "}{ \u2603 not what anything expects [[[ 0x\n" * 3


@dataclass(frozen=True, slots=True)
class Trick:
    """A version that does nothing of use, and what came of it."""

    name: str  # "an empty model.py"
    outcome: TrickOutcome
    message: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """Two runs of the unchanged files."""

    first: Measurement
    second: Measurement | None = None

    @property
    def failure(self) -> Failure | None:
        return self.first.failure or (self.second.failure if self.second else None)

    @property
    def best(self) -> float:
        """The better of the scores."""
        return min(m.score for m in (self.first, self.second) if m is not None and m.score is not None)

    @property
    def spread(self) -> float:
        """How far the two scores are apart."""
        scores = [m.score for m in (self.first, self.second) if m is not None and m.score is not None]
        return max(scores) - min(scores)


class Floor:
    """The tests of one task, whose runs lie in `folder`."""

    def __init__(self, task: CommandTask, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.texts = {path: content.decode("utf-8", "replace") for path, content in task.base.edited.items()}
        self.source = task.read(lambda path: task.base.edited[path])

    def baseline(self) -> Baseline:
        """Measure the files as they are, twice."""
        first = self._measure(self.source, "baseline")
        if first.failure is not None:
            return Baseline(first)
        second = self._measure(self.source, "baseline")
        self.task.limit_candidates([m for m in (first, second) if m.ok])
        return Baseline(first, second)

    def final(self) -> Measurement:
        """Measure the files as they are as the final validation would."""
        return self._measure(self.source, "baseline", "final")

    def adversaries(self, baseline: Baseline) -> Iterator[Trick]:
        """Measure each version that does nothing of use."""
        source = self.task.declared.metric.source
        for name, texts in versions(self.texts, self.task.metric, source, self._left()).items():
            yield self._found(name, texts, baseline)

    def _left(self) -> list[str]:
        """Return the files in ./out that the task's files and commands name, which its judge may read."""
        if not self.task.declared.score:
            return []
        fixed = tree.files_below(self.task.base.folder).values()
        texts = [
            path.read_bytes().decode("utf-8", "ignore")
            for path in fixed
            if path.is_file() and path.stat().st_size < MOST_BYTES
        ]
        found = re.findall(rf"\b{tree.OUT}/[\w.-]+(?:/[\w.-]+)*", "\n".join([*self.texts.values(), *texts]))
        return sorted(set(found))[:MOST_LEFT]

    def hidden(self) -> Iterator[Trick]:
        """Look for each hidden file with the eyes of a run: in its tree, in the folder, and in the base."""
        copies = proof.copies(self.task.base)
        for path, seen in proof.readable(self.task.bench, self.task.base, self.task.folder, self.folder).items():
            if seen:
                yield Trick(path, "better", f"a run can read it at {seen[0]}")
            elif path in copies:
                yield Trick(path, "better", f"a run can read the same in {copies[path]}: hide that, too")
            else:
                yield Trick(path, "refused", "no run can read it")

    def _found(self, name: str, texts: Mapping[str, str], baseline: Baseline) -> Trick:
        source = self.task.read(lambda path: texts[path].encode())
        if violations := self.task.check(source, self.source):
            return Trick(name, "refused", f"refused before it runs: {violations[0]}")
        m = self._measure(source, "candidate")
        if self._beats(m, baseline) and self.task.metric.scatter != "exact":
            m = max(m, self._measure(source, "candidate"), key=_worst)  # not by luck
        if m.failure is not None:
            return Trick(name, "refused", f"refused: {m.failure.kind}: {m.failure.message}")
        assert m.score is not None
        metric = self.task.metric
        figure = f"{metric.text(m.score)}, and the baseline {metric.shown(baseline.best)}"
        if not self._beats(m, baseline):
            return Trick(name, "no better", f"measured and no better: {figure}")
        return Trick(name, "forgeable" if metric.trust == "reported" else "better", f"would be kept: {figure}")

    def _beats(self, m: Measurement, baseline: Baseline) -> bool:
        """Return whether a version is better than the baseline by more than its two runs differ."""
        margin = max(MARGIN * baseline.spread, self.task.metric.min_gain)
        return m.score is not None and m.score < baseline.best - margin

    def _measure(self, source: str, role: Role, purpose: Purpose = "search") -> Measurement:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "source"
        path.write_bytes(source.encode("utf-8", "surrogatepass"))
        order = RunOrder(source=path, folder=self.folder / "run", seed=1, purpose=purpose, role=role)
        return self.task.measure(order)


def _worst(m: Measurement) -> float:
    return math.inf if m.score is None else m.score


def versions(
    texts: Mapping[str, str], metric: Metric, source: str, left: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Return the versions that do nothing of use, by a name for a person.

    Of each file an empty one, one of garbage, and a program that claims a wonderful number and ends well, which a judge
    may load; of the main one also a program that ends at once, one that only waits, and one that writes the claim into
    the files `left` in ./out.
    """
    main = next(iter(texts))
    found: dict[str, dict[str, str]] = {}
    for path in list(texts)[:5]:
        found[f"an empty {path}"] = {**texts, path: ""}
        found[f"garbage as {path}"] = {**texts, path: GARBAGE}
    claim = _claim(metric, source)
    for path in list(texts)[1:5]:
        bodies = {name: body for name, body in programs(PurePosixPath(path).suffix, claim).items() if "claim" in name}
        found |= {f"{path} that {name}": {**texts, path: body} for name, body in bodies.items()}
    for name, body in programs(PurePosixPath(main).suffix, claim, left).items():
        found[f"{main} that {name}"] = {**texts, main: body}
    return found


def programs(suffix: str, claim: str, left: Sequence[str] = ()) -> dict[str, str]:
    """Return programs by what they do, in the language of a file; a file of data gets the claim as its text."""
    quoted, data = json.dumps(claim), json.dumps(claim.splitlines()[-1])
    match suffix:
        case ".py":
            leave = "import os, sys\nsys.stdout.flush()\nos._exit(0)\n"
            write = f"from pathlib import Path\nfor path in map(Path, {json.dumps(list(left))}):\n"
            write += f"    path.parent.mkdir(parents=True, exist_ok=True)\n    path.write_text({data})\n{leave}"
            return {
                **({"writes a wonderful number into what it leaves": write} if left else {}),
                "claims a wonderful number and exits with 0": f"print({quoted})\n{leave}",
                "exits with 0 at once": leave,
                "only waits a moment": "import time\ntime.sleep(0.2)\n",
            }
        case ".js" | ".mjs" | ".cjs" | ".ts":
            return {
                "claims a wonderful number and exits with 0": f"console.log({quoted});\nprocess.exit(0);\n",
                "exits with 0 at once": "process.exit(0);\n",
            }
        case ".sh" | ".bash":
            write = "".join(
                f"mkdir -p $(dirname {path}) && printf %s {shlex.quote(json.loads(data))} > {path}\n" for path in left
            )
            return {
                **({"writes a wonderful number into what it leaves": write} if left else {}),
                "claims a wonderful number and exits with 0": f"cat <<'END'\n{claim}\nEND\nexit 0\n",
                "exits with 0 at once": "exit 0\n",
            }
        case ".rb" | ".pl" | ".php":
            return {"claims a wonderful number": f"print {quoted};\nexit;\n"}
    return {"holds only the claim of a wonderful number": f"{claim}\n"}


def _claim(metric: Metric, source: str) -> str:
    """Return lines that claim a wonderful number, in every form that a metric is read in."""
    value = 1e-9 if metric.direction == "lower" else 1e9
    kind, argument = split_source(source)
    key = argument if kind in ("run:line", "score:json") else metric.name
    return f"METRIC {key} {value:g}\n" + json.dumps({key: value, metric.name: value, "cases": [value]})
