"""Propose another machine's kept changes here, by descending lower bound of the gain, and judge what became of them.

A transfer is a night whose ideas come from a bundle instead of a model. So every change passes the same contract,
sandbox, keep rule and journal as any candidate, each on top of what was kept so far, and a transfer can be resumed like
any night. Constants that only fit a machine (rows at once, stacking, compute type) are not taken over: they are fitted
here before the baseline runs.
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
from autoresearch.formats import counted, shortened
from autoresearch.record.night import Experiment, Night
from autoresearch.records import CATEGORIES, TITLE_CHARS, Context, Edit, Proposal, SearchReplace, Set, Trial, WholeFile
from autoresearch.search import policy
from autoresearch.search.proposer import BaseProposer
from autoresearch.tasks.gpt.calibrate import MACHINE_FIT, ROWS

HALVINGS = 2  # of the rows at once, for a change that does not fit into this machine's memory


@dataclass(frozen=True, slots=True)
class ForeignChange:
    """A kept change of the other machine. `promise` is the lower bound of its gain there, in sigma."""

    finding: Finding
    edits: tuple[Edit, ...]
    promise: float
    obstacle: str = ""  # why it cannot be tried on any other machine


def changes(bundle: Bundle) -> list[ForeignChange]:
    """Return the kept changes of a bundle, the most promising first."""
    kept = [f for f in bundle.findings if f.role == "candidate" and f.verdict == "keep"]
    return sorted((_foreign(f, bundle) for f in kept), key=lambda c: (-c.promise, c.finding.n))


def _foreign(f: Finding, bundle: Bundle) -> ForeignChange:
    low = f.effect.low_score if f.effect and f.effect.low_score is not None else 0.0
    promise = low / (bundle.sigma_score or 1.0)
    if f.change is None:
        return ForeignChange(f, (), promise, "no patch can express the change")
    blocks: list[Edit] = [SearchReplace(block.search, block.replace, block.path) for block in f.change.blocks]
    blocks += [WholeFile(text, path) for path, text in f.change.files.items()]
    sets = [Set(name, literal) for name, literal in f.change.set.items()]
    travels: tuple[Edit, ...] = (*blocks, *(edit for edit in sets if edit.name not in MACHINE_FIT))
    if not _makes_its_source(f, (*blocks, *sets), bundle):
        return ForeignChange(f, (), promise, "its change does not turn its parent's source into its own")
    left = "" if travels else ", ".join(f.change.set)
    obstacle = f"it only fits {left} to its machine; here that was fitted before the baseline" if left else ""
    return ForeignChange(f, travels, promise, obstacle)


def _makes_its_source(f: Finding, patch: Sequence[Edit], bundle: Bundle) -> bool:
    """Return whether the patch makes the source that was measured there; a hostile file may claim another one."""
    before, after = bundle.source(bundle.finding(f.parent)), bundle.source(f)
    try:
        made = edits.apply(before or "", patch)
        return constants.normalised(made) == constants.normalised(after or "")
    except (SourceError, EditError):
        return False


class TransferProposer(BaseProposer):
    """Proposer of the changes in a bundle. It holds no state of the night, since the history shows what was tried."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.name = bundle, proposer_name(bundle)
        self.changes = changes(bundle)

    def propose(self, context: Context, n: int = 1) -> list[Proposal]:
        """Return the most promising change that was not tried yet and applies to the incumbent.

        A change that does not apply is considered again for the next incumbent. Raises ProposerError when none is left.
        """
        for change in self.changes:
            if (wanted := self._next(change, context)) is not None:
                return [self._proposal(change, wanted, context)]
        raise ProposerError("every change that applies has been tried", reason="done")

    def left(self, context: Context) -> bool:
        """Return whether a change is left that applies and was not tried."""
        return any(self._next(change, context) is not None for change in self.changes)

    def _next(self, change: ForeignChange, context: Context) -> tuple[Edit, ...] | None:
        """Return the edits that try this change now; None where it was tried or cannot be."""
        tried = attempts(change, context.history, self.name)
        if tried and not _short_of_memory(tried, context.source):
            return None
        try:
            return adapted(change, context.source, context.history, halvings=len(tried))
        except EditError:
            return None

    def _proposal(self, change: ForeignChange, wanted: tuple[Edit, ...], context: Context) -> Proposal:
        f = change.finding
        hypothesis = [f.hypothesis, f"Found on {self.bundle.machine.describe()}."]
        hypothesis += [f"It gained {f.effect.gain_score:.4f} bpb there."] if f.effect else []
        if attempts(change, context.history, self.name):
            hypothesis += ["Fewer rows at once, since it did not fit into memory."]
        category = f.category if f.category in CATEGORIES else "other"
        title = shortened(f"their #{f.n}: {f.title}", TITLE_CHARS)
        return Proposal(wanted, title, " ".join(filter(None, hypothesis)), category, self.name, origin=f.n)


def proposer_name(bundle: Bundle) -> str:
    return f"transfer:{bundle.id[:12]}"


def attempts(change: ForeignChange, history: Sequence[Trial], name: str) -> list[Trial]:
    """Return the trials of `change` by the proposer `name`, oldest first."""
    return [t for t in history if t.proposer == name and t.origin == change.finding.n]


def adapted(change: ForeignChange, source: str, history: Sequence[Trial], halvings: int = 0) -> tuple[Edit, ...]:
    """Return the change's edits for `source`, without the constants that have their values already.

    `halvings` halves the rows at once so many times. Raises EditError with the reason where it cannot be tried there.
    """
    if change.obstacle:
        raise EditError(change.obstacle)
    now = constants.read(source)
    wanted = [e for e in change.edits if not (isinstance(e, Set) and _has_value(now, e))]
    if not wanted:
        raise EditError("its constants have these values here already")
    if halvings:
        wanted.append(Set(ROWS, str(now[ROWS] >> halvings)))
    repeated = policy.repeat_of(edits.apply(source, wanted), source, history)
    if repeated is not None:
        raise EditError(f"it is what experiment {repeated.n} of this night was ({repeated.verdict})")
    return tuple(wanted)


def _has_value(now: Mapping[str, object], edit: Set) -> bool:
    """Return whether the constant has the value of `edit` already."""
    try:
        return edit.name in now and repr(now[edit.name]) == repr(constants.evaluate(edit.literal))
    except ValueError:
        return False


def _short_of_memory(tried: Sequence[Trial], source: str) -> bool:
    """Return whether the last attempt ran out of memory and may fit with half the rows at once."""
    failure, rows = tried[-1].failure, constants.read(source).get(ROWS)
    short = failure is not None and failure.kind == "memory"
    return short and len(tried) <= HALVINGS and isinstance(rows, int) and rows >> len(tried) >= 1


SAID: Mapping[TransferVerdict, str] = {
    "transfers": "holds here, too",
    "null": "makes no clear difference here",
    "reverses": "is worse here",
    "cannot run": "could not be tried here",
}
MEANINGS: Mapping[TransferVerdict, str] = {
    "transfers": "transferred",
    "null": "made no clear difference",
    "reverses": "reversed",
    "cannot run": "could not run",
}


# --- what became of them ----------------------------------------------------------------------------------------------


def outcome(bundle: Bundle, night: Night, source_of: Callable[[int], str], now: Estimates) -> TransferReport:
    """Return the verdict on each change so far, the most promising first. A change still to be tried has no row.

    - transfers: the keep rule kept it here, and its interval here lies above zero.
    - reverses: its interval here lies below zero.
    - cannot run: it crashed, or it does not apply to the incumbent.
    - null: any other measured change, even one that was kept on a gain within the noise. The next changes are tried on
      top of a kept one all the same.
    """
    assert night.incumbent_n is not None, "a baseline is measured first"
    name, history, source = proposer_name(bundle), night.trials(source_of), source_of(night.incumbent_n)
    rows = []
    for change in changes(bundle):
        f, tried = change.finding, attempts(change, history, name)
        if tried and not _short_of_memory(tried, source):
            last = night.experiments[tried[-1].n]
            here = effects.of(night, last, now)
            rows.append(TransferOutcome(f.n, f.title, _verdict(last, here), last.reason, last.n, f.effect, here))
        elif not tried and (why := _why_not(change, source, history)):
            rows.append(TransferOutcome(f.n, f.title, "cannot run", why, None, f.effect))
    return TransferReport(bundle.id, bundle.machine.describe(), bundle.sigma_score, tuple(rows))


def sentences(report: TransferReport) -> list[str]:
    """Return what became of each change, a sentence each, and a last one that counts them."""
    counts = {name: sum(row.verdict == name for row in report.rows) for name in MEANINGS}
    told = [f"{count} {MEANINGS[name]}" for name, count in counts.items() if count]
    changes = counted(len(report.rows), "change")
    return [*map(_sentence, report.rows), f"Of {changes}: {', '.join(told)}." if told else "No change was tried yet."]


def _sentence(row: TransferOutcome) -> str:
    """Return a sentence: "Halve the batch: holds here, too. 0.0182 bpb better here, 0.0210 bpb better there."."""
    here, there = _told(row.here, "here"), _told(row.there, "there")
    figures = f" {', '.join(text for text in (here, there) if text)}." if here or there else ""
    why = f" ({row.reason})" if row.verdict == "cannot run" and row.reason else ""
    return f"{row.title}: {SAID[row.verdict]}{why}.{figures}"


def _told(effect: Effect | None, where: str) -> str:
    if effect is None:
        return ""
    side = "better" if effect.gain_score >= 0 else "worse"
    bounds = (
        f" (95% interval {effect.low_score:+.4f} to {effect.high_score:+.4f})" if effect.direction is not None else ""
    )
    return f"{abs(effect.gain_score):.4f} bpb {side} {where}{bounds}"


def _verdict(experiment: Experiment, here: Effect | None) -> TransferVerdict:
    if experiment.verdict not in ("keep", "discard") or here is None:
        return "cannot run"
    if experiment.verdict == "keep" and here.direction == 1:
        return "transfers"
    return "reverses" if here.direction == -1 else "null"


def _why_not(change: ForeignChange, source: str, history: Sequence[Trial]) -> str:
    try:
        adapted(change, source, history)
    except EditError as error:
        return str(error)
    return ""
