"""Check and set up this machine: the commands `doctor`, `calibrate`, `models`, `install` and `uninstall`."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from autoresearch.errors import AutoresearchError, ProposerError
from autoresearch.loop import checkup
from autoresearch.loop import doctor as examination
from autoresearch.loop.commands import tasks
from autoresearch.measure import experiment
from autoresearch.paths import EDITABLE, Cache, Layout
from autoresearch.records import Measurement
from autoresearch.report.models import models_view
from autoresearch.search.llm import model_choice
from autoresearch.search.llm.installed import installed
from autoresearch.search.llm.own_server import connect
from autoresearch.search.scorecard import Scorecard
from autoresearch.system import login, machine
from autoresearch.system.locks import hold
from autoresearch.tasks.gpt import calibrate as fitting
from autoresearch.tasks.gpt.by_hand import with_profile
from autoresearch.tasks.gpt.data import prepared
from autoresearch.tasks.gpt.workbench import choose_data, workbench

DOCTOR_S = 10.0  # of training


def doctor(root: Path, args: Namespace) -> int:
    """Print each check as it is done; exit with 1 when something stands in the way of a night."""
    if args.task is not None:
        return tasks.doctor(args.task.resolve(), no_sandbox=args.no_sandbox)
    facts, cache = machine.facts(), Cache.default()
    print(facts.describe())
    host = checkup.Host(root, facts, model=lambda: find_model(facts, cache), train=partial(_train_briefly, root, args))
    done = []
    for check in examination.checks(host):
        print(checkup.line(check), flush=True)
        done.append(check)
    return checkup.checks_exit_code(done)


def find_model(facts: machine.Facts, cache: Cache) -> tuple[bool, str]:
    """Return whether an Ollama server has a model for this machine, and a line on it."""
    scorecard = Scorecard(cache.scorecard, facts.slug())
    memory_bytes = facts.training_memory_mb * 2**20
    proposer, said = model_choice.open_ollama(memory_bytes=memory_bytes, log_path=cache.ollama_log, scorecard=scorecard)
    if proposer is not None:
        proposer.close()
    return proposer is not None, said


def _train_briefly(root: Path, args: Namespace) -> Measurement:
    """Make one short run with the constants that a night on this data would begin with. Raises LockedError."""
    with hold(Cache.default().machine_lock, "this machine"):
        data, folder = choose_data(args.dataset, args.profile, print), Layout(root, "doctor").folder
        bench = workbench(data, folder, root, DOCTOR_S, args.no_sandbox, lambda text: None, anew=True)
        source = folder / EDITABLE
        source.write_bytes(with_profile(root / EDITABLE, prepared.load_meta(data).constants).encode())
        return experiment.measure(replace(bench, min_steps=0), source, folder / "run", seed=0)  # ten seconds are few


def calibrate(root: Path, args: Namespace) -> int:
    """Print the roofline and the constants that a night here would begin with; nothing is committed."""
    facts, cache, layout = machine.facts(), Cache.default(), Layout(root, "calibrate")
    print(facts.describe())
    with hold(cache.machine_lock, "this machine"):
        data = choose_data(args.dataset, args.profile, print)
        bench = workbench(data, layout.folder, root, None, args.no_sandbox, print, anew=True)
        source = with_profile(root / EDITABLE, prepared.load_meta(data).constants)
        path = cache.fits(facts.slug())
        found = None if args.again else fitting.known(path, source, bench)
        if found is not None:
            print(f"measured earlier; --again measures it again\n{found.text}")
        else:
            found = fitting.measure(bench, source, layout.fit, facts, path, print)
    listing = ", ".join(f"{edit.name} = {edit.literal}" for edit in found.edits)
    print(f"a night here begins with {listing}" if listing else "nothing needs to change")
    return 0


def models(root: Path, args: Namespace) -> int:
    """Print the local models: their size, whether they fit, what they achieved here, and which is chosen."""
    facts, cache = machine.facts(), Cache.default()
    pull = f"For this machine's {facts.memory_gb} GB: {model_choice.how_to_begin(facts.training_memory_mb * 2**20)}"
    try:
        server = connect(cache.ollama_log)
    except ProposerError as error:
        raise AutoresearchError(f"{error}\n{pull}") from None
    if server is None:
        raise AutoresearchError(f"no Ollama server answers and `ollama` is not installed.\n{pull}")
    try:
        scorecard = Scorecard(cache.scorecard, facts.slug())
        found = installed(server, facts.training_memory_mb * 2**20, scorecard)
        console = Console()
        console.print(models_view(found, scorecard, console.width), highlight=False)
        others = [str(entry.get("name") or "") for entry in server.models()]
        print(model_choice.choose_model(found, facts.training_memory_mb * 2**20, args.model, others).line)
    finally:
        server.close()
    return 0


def install(root: Path, args: Namespace) -> int:
    """Resume an interrupted night at login, with the arguments that were given."""
    given = sys.argv[sys.argv.index("install") + 1 :]
    argv = [sys.executable, str(root / "loop.py"), "run", "--resume", *given]
    print("\n".join(login.install(root, argv)))
    return 0


def uninstall(root: Path, args: Namespace) -> int:
    """Undo `install`."""
    print("\n".join(login.uninstall(root)))
    return 0
