"""Commit what a new night of training begins with: the constants of the data's profile, then those of this machine."""

from __future__ import annotations

from pathlib import Path

from autoresearch import texts
from autoresearch.candidate import edits
from autoresearch.measure.workbench import Workbench
from autoresearch.paths import EDITABLE
from autoresearch.record.branch import Branch
from autoresearch.records import Say
from autoresearch.system import machine
from autoresearch.tasks.gpt import calibrate
from autoresearch.tasks.gpt.data.prepared import Meta
from autoresearch.tasks.gpt.starting import starting_edits


def from_profile(branch: Branch, meta: Meta, say: Say) -> None:
    """Commit the constants that the data's profile starts from, where the file still has the shipped ones."""
    source = texts.source(branch.read(EDITABLE), EDITABLE)
    wanted = starting_edits(source, meta.constants, lambda: texts.source(branch.repo.first_version(EDITABLE), EDITABLE))
    if wanted:
        new = edits.apply(source, wanted)
        listing = ", ".join(f"{edit.name} = {edit.literal}" for edit in wanted)
        say(f"constants of the {meta.profile} profile: {listing}")
        branch.commit({EDITABLE: new.encode()}, f"Start from the {meta.profile} profile's constants\n\n{listing}\n")


def fit_to_machine(
    branch: Branch, bench: Workbench, facts: machine.Facts, folder: Path, memory: Path, say: Say
) -> None:
    """Commit the constants with which this machine runs the same computation faster, where there are any."""
    source = texts.source(branch.read(EDITABLE), EDITABLE)
    found = calibrate.known(memory, source, bench)
    if found is None and any(calibrate.axes(source, bench, "gpu")):
        say("fit: measuring what is fastest on this machine, up to two minutes, once")
        found = calibrate.measure(bench, source, folder, facts, memory, say)
    if found is None or not found.edits:
        return
    new = edits.apply(source, found.edits)
    listing = ", ".join(f"{edit.name} = {edit.literal}" for edit in found.edits)
    say(f"fit: {listing}")
    branch.commit({EDITABLE: new.encode()}, f"Fit to this machine: {listing}\n\n{facts.describe()}\n\n{found.text}\n")
