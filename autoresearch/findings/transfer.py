"""Another machine's kept changes, tried on this one: each on top of what held so far, in order of promise.

A transfer is a night of its own, and its ideas come from a bundle instead of a model. So every change passes the same
contract, sandbox, keep rule and journal as any candidate, and a transfer that was stopped goes on like any night. What
only fits a machine stays behind: rows at once, stacking and compute type are fitted here before the baseline runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autoresearch.candidate import constants, edits
from autoresearch.decide.estimates import Estimates
from autoresearch.errors import EditError, ProposerError, SourceError
from autoresearch.findings import effects
from autoresearch.findings.bundle import Bundle
from autoresearch.findings.finding import Effect, Finding, TransferOutcome, TransferReport, TransferVerdict
from autoresearch.record.night import Experiment, Night
from autoresearch.records import CATEGORIES, Context, Edit, Proposal, SearchReplace, Set, Trial
from autoresearch.search import policy
from autoresearch.search.proposer import BaseProposer
from autoresearch.tasks.gpt.calibrate import MACHINE_FIT, ROWS

HALVINGS = 2  # of the rows at once, for a change that does not fit into this machine's memory
ORIGIN = "origin.json"  # in runs/TAG: the bundle that is replayed


@dataclass(frozen=True, slots=True)
class Replayed:
    """A kept change of the other machine. `promise` is the lower end of its gain there, in sigma."""

    finding: Finding
    edits: tuple[Edit, ...]
    promise: float
    obstacle: str = ""  # why it cannot be tried on any other machine


def changes(bundle: Bundle) -> list[Replayed]:
    """The kept changes, the most promising first."""
    kept = [f for f in bundle.findings if f.role == "candidate" and f.verdict == "keep"]
    return sorted((_replayed(f, bundle) for f in kept), key=lambda c: (-c.promise, c.finding.n))


def _replayed(f: Finding, bundle: Bundle) -> Replayed:
    low = f.effect.low_bpb if f.effect and f.effect.low_bpb is not None else 0.0
    promise = low / (bundle.sigma_bpb or 1.0)
    if f.change is None:
        return Replayed(f, (), promise, "the change is more than a patch can say")
    blocks = [SearchReplace(block.search, block.replace) for block in f.change.blocks]
    sets = [Set(name, literal) for name, literal in f.change.set.items()]
    travels: tuple[Edit, ...] = (*blocks, *(edit for edit in sets if edit.name not in MACHINE_FIT))
    if not _makes_its_source(f, (*blocks, *sets), bundle):
        return Replayed(f, (), promise, "its change does not make its source of its parent's")
    left = "" if travels else ", ".join(f.change.set)
    obstacle = f"it only fits {left} to its machine; here that was fitted before the baseline" if left else ""
    return Replayed(f, travels, promise, obstacle)


def _makes_its_source(f: Finding, patch: Sequence[Edit], bundle: Bundle) -> bool:
    """Whether what would be tried here is what was measured there: a file may say one and mean the other."""
    before, after = bundle.source(bundle.finding(f.parent)), bundle.source(f)
    try:
        made = edits.apply(before or "", patch)
        return constants.normalised(made) == constants.normalised(after or "")
    except (SourceError, EditError):
        return False


class Transfer(BaseProposer):
    """A proposer that replays a bundle. It remembers nothing: what was tried is in the history."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.name = bundle, proposer_name(bundle)
        self.changes = changes(bundle)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """The most promising change that can be tried on the incumbent and was not yet.

        One that does not apply is passed over, and looked at again on the next incumbent. Raises ProposerError when
        none is left.
        """
        for change in self.changes:
            if (wanted := self._next(change, context)) is not None:
                return [self._proposal(change, wanted, context)]
        raise ProposerError("every change that applies has been tried", reason="done")

    def left(self, context: Context) -> bool:
        return any(self._next(change, context) is not None for change in self.changes)

    def _next(self, change: Replayed, context: Context) -> tuple[Edit, ...] | None:
        """The edits to try for this change now; None where it was tried, or cannot be."""
        tried = attempts(change, context.history, self.name)
        if tried and not _short_of_memory(tried, context.source):
            return None
        try:
            return adapted(change, context.source, context.history, halvings=len(tried))
        except EditError:
            return None

    def _proposal(self, change: Replayed, wanted: tuple[Edit, ...], context: Context) -> Proposal:
        f = change.finding
        told = [f.hypothesis, f"Found on {self.bundle.machine.describe()}."]
        told += [f"It gained {f.effect.gain_bpb:.4f} bpb there."] if f.effect else []
        if attempts(change, context.history, self.name):
            told += ["Fewer rows at once, since it did not fit into memory."]
        category = f.category if f.category in CATEGORIES else "other"
        title = f"their #{f.n}: {f.title}"[:79]
        return Proposal(wanted, title, " ".join(filter(None, told)), category, self.name, origin=f.n)


def proposer_name(bundle: Bundle) -> str:
    return f"transfer:{bundle.id[:12]}"


def attempts(change: Replayed, history: Sequence[Trial], name: str) -> list[Trial]:
    """The trials of `change` by the proposer `name`, oldest first."""
    return [t for t in history if t.proposer == name and t.origin == change.finding.n]


def adapted(change: Replayed, source: str, history: Sequence[Trial], halvings: int = 0) -> tuple[Edit, ...]:
    """The change's edits for `source`, without the constants that have their value already.

    Raises EditError, saying why, where it cannot be tried there.
    """
    if change.obstacle:
        raise EditError(change.obstacle)
    now = constants.read(source)
    wanted = [e for e in change.edits if not (isinstance(e, Set) and _stands(now, e))]
    if not wanted:
        raise EditError("its constants have these values here already")
    if halvings:
        wanted.append(Set(ROWS, str(now[ROWS] >> halvings)))
    repeated = policy.repeat_of(edits.apply(source, wanted), source, history)
    if repeated is not None:
        raise EditError(f"it is what experiment {repeated.n} of this night was ({repeated.verdict})")
    return tuple(wanted)


def _stands(now: Mapping[str, object], edit: Set) -> bool:
    try:
        return edit.name in now and repr(now[edit.name]) == repr(constants.evaluate(edit.literal))
    except ValueError:
        return False


def _short_of_memory(tried: Sequence[Trial], source: str) -> bool:
    """Whether half the rows at once may help: the last attempt ran out of memory."""
    failure, rows = tried[-1].failure, constants.read(source).get(ROWS)
    short = failure is not None and failure.kind == "memory"
    return short and len(tried) <= HALVINGS and isinstance(rows, int) and rows >> len(tried) >= 1


# --- what became of them ----------------------------------------------------------------------------------------------


def outcome(bundle: Bundle, night: Night, source_of: Callable[[int], str], now: Estimates) -> TransferReport:
    """The verdict on each change so far, in the order of promise.

    transfers: kept by this machine's rule, and its interval here lies above zero. reverses: it lies below. cannot run:
    it crashed, or does not apply to what held so far. null: anything else that was measured, what was kept on a gain
    within the noise too; the next changes are tried on top of it all the same. What is still to be tried has no row.
    """
    assert night.incumbent_n is not None, "a baseline is measured first"
    name, history, source = proposer_name(bundle), night.trials(source_of), source_of(night.incumbent_n)
    rows = []
    for change in changes(bundle):
        f, tried = change.finding, attempts(change, history, name)
        if tried and not _short_of_memory(tried, source):
            x = night.experiments[tried[-1].n]
            here = effects.of(night, x, now)
            rows.append(TransferOutcome(f.n, f.title, _verdict(x, here), x.reason, x.n, f.effect, here))
        elif not tried and (why := _why_not(change, source, history)):
            rows.append(TransferOutcome(f.n, f.title, "cannot run", why, None, f.effect))
    return TransferReport(bundle.id, bundle.machine.describe(), bundle.sigma_bpb, tuple(rows))


def _verdict(x: Experiment, here: Effect | None) -> TransferVerdict:
    if x.verdict not in ("keep", "discard") or here is None:
        return "cannot run"
    if x.verdict == "keep" and here.direction == 1:
        return "transfers"
    return "reverses" if here.direction == -1 else "null"


def _why_not(change: Replayed, source: str, history: Sequence[Trial]) -> str:
    try:
        adapted(change, source, history)
    except EditError as error:
        return str(error)
    return ""
