"""Use a night's results: the commands `report`, `adopt` (the winner on the user's branch) and `clean` (disk space)."""

from __future__ import annotations

import shlex
import webbrowser
from argparse import Namespace
from pathlib import Path

from autoresearch import texts
from autoresearch.errors import UsageError
from autoresearch.loop import adoption, samples
from autoresearch.paths import EDITABLE, Layout, tree
from autoresearch.record import journal, retention
from autoresearch.record.git import Repository, branch_name, tag_of
from autoresearch.report import page, status


def report(root: Path, args: Namespace) -> int:
    """Write report.html and progress.png, with samples of text where they are still to be made."""
    layout = Layout(root, status.find_tag(root, args.tag))
    if not layout.declared:
        samples.fill(layout, journal.read(layout), print)
    path = page.write(layout)
    print(path)
    if args.open and not webbrowser.open(path.as_uri()):
        print("no browser was found; open the file by hand")
    return 0


def adopt(root: Path, args: Namespace) -> int:
    """Commit what the night changed on the person's own branch; the winner has to be validated, or --anyway given."""
    layout, repo = Layout(root, status.find_tag(root, args.tag)), Repository.at(tree(root))
    night = journal.read(layout)
    if tag_of(repo.branch()):
        raise UsageError(f"this is the loop's own branch {repo.branch()}. Go to yours first: git switch main")
    if changed := [path for path in night.task.files if path in repo.changes()]:
        named = " ".join(map(shlex.quote, changed))
        raise UsageError(f"{named}: uncommitted changes. Commit them first, or: git checkout -- {named}")
    winner, figures = adoption.chosen(night, args.anyway)
    line = night.ancestry(winner)
    before, after = (journal.read_source(layout, x) for x in (line[0], winner))
    branch, sentences = branch_name(layout.tag), list[str]()
    if layout.declared:
        files = adoption.merged(repo, before, after, branch)
    else:
        ours = texts.source(repo.read("HEAD", EDITABLE), EDITABLE)
        found = adoption.adopted(ours, before, after, branch)
        files, sentences = {EDITABLE: found.source.encode()}, found.sentences()
    if all(repo.read("HEAD", path) == content for path, content in files.items()):
        named = " ".join(files)
        raise UsageError(f"your {named} already has what {layout.tag} found, so there is nothing to adopt")
    steps = "\n".join(f"- {x.proposal.title}: {x.reason}" for x in line[1:])
    message = f"Adopt the winner of {branch}\n\n{figures}\n\n{steps}\n"
    print(f"{repo.commit(files, message)[:10]} on {repo.branch()}: {figures}")
    for sentence in sentences:
        print(sentence)
    return 0


def clean(root: Path, args: Namespace) -> int:
    """Remove the checkpoints and kernels that decided candidates need no more."""
    layout = Layout(root, status.find_tag(root, args.tag))
    planned = retention.plan(journal.read(layout), retention.scan(layout))
    print(planned.describe())
    retention.apply(layout, planned)
    return 0
