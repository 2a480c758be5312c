"""Call git so that neither the environment nor the person's configuration changes what it does, reads or prints.

No hook runs, nothing is signed, no prompt can appear and no pager, colour or foreign setting gets into the output.
Failures that a person can mend are told in a sentence with the command that mends them.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch.errors import CommandError, GitError
from autoresearch.system.process import CommandResult, run

SETTINGS = {
    # what is written
    "core.hooksPath": "/dev/null",
    "core.fsync": "all",
    "core.safecrlf": "false",  # else hash-object refuses a file whose line ends another setting would change
    "commit.gpgSign": "false",  # a signature may ask for a passphrase in the night
    "i18n.commitEncoding": "UTF-8",
    # what is read
    "core.quotePath": "false",
    "color.ui": "false",
    "log.showSignature": "false",
    "log.showRoot": "true",
    "log.follow": "false",
    "log.diffMerges": "off",
    "diff.renames": "false",
    "diff.relative": "false",
    "i18n.logOutputEncoding": "UTF-8",
    # how it works
    "core.fsmonitor": "false",
    "core.filesRefLockTimeout": "2000",  # ms to wait for another git
    "core.packedRefsTimeout": "2000",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
}
# Variables of git that are passed on: where its configuration is, and who commits. The others, which git exports to
# hooks, aliases and editors, would redirect our commands to another repository or change what they print.
KEPT = re.compile(
    r"GIT_(?:CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|(?:AUTHOR|COMMITTER)_(?:NAME|EMAIL)"
    r"|EXEC_PATH|CEILING_DIRECTORIES|DISCOVERY_ACROSS_FILESYSTEM)"
)
OWN = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_PAGER": "cat"}
OFFLINE = {"protocol.allow": "never"}  # for a partial clone, which otherwise fetches old versions one by one
START = "git init && git add -A && git commit -m start"
OLDEST = "2.23"  # with `git switch`


def call(
    folder: Path,
    args: Sequence[str],
    *,
    input: bytes = b"",
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    check: bool = True,
) -> CommandResult:
    """Run git in a folder. Raises GitError where it cannot start, and with `check` for a code other than 0."""
    options = [a for k, v in {**SETTINGS, **(settings or {})}.items() for a in ("-c", f"{k}={v}")]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or KEPT.fullmatch(k)}
    try:
        done = run(["git", *options, *args], cwd=folder, env={**clean, **OWN, **(env or {})}, input=input, check=False)
    except CommandError as error:
        done = CommandResult(tuple(args), error.returncode, error.stdout.encode(), error.stderr)
        raise failure(folder, args, done) from None
    if check and done.returncode:
        raise failure(folder, args, done)
    return done


def failure(folder: Path, args: Sequence[str], done: CommandResult) -> GitError:
    """Return the error of a call that failed: in a sentence where the cause is known, else in git's own words."""
    error = GitError(["git", *args], done.returncode, done.stdout, done.stderr)
    if sentence := _explained(folder, done):
        error.args = (sentence,)
    return error


def refusal(command: str, why: str) -> GitError:
    """Return the error for what we refuse ourselves in place of a git command."""
    error = GitError(["git", *command.split()], 1, stderr=why)
    error.args = (why,)
    return error


def _explained(folder: Path, done: CommandResult) -> str | None:
    """Return the cause of a failure and the commands that mend it, or None where only git's words tell it."""
    said, here = done.stderr, shlex.quote(str(folder))
    if done.returncode == 127 and not folder.is_dir():
        return f"{folder} does not exist"
    if done.returncode == 127 or "xcrun: error" in said or "xcode-select" in said:
        how = "xcode-select --install" if sys.platform == "darwin" else "apt-get install git   (or your system's way)"
        return f"git, which keeps the night's changes, is not installed. Run: {how}"
    if "not a git repository" in said:
        return f"{folder} is not a git repository, and the night's changes are kept as commits. Run there: {START}"
    if "dubious ownership" in said:
        how = f"git config --global --add safe.directory {here}"
        return f"git does not trust {folder}, which belongs to another user. Run: {how}"
    if "must be run in a work tree" in said:
        return f"{folder} is a bare git repository, without files to work on. Run: git clone {here} ELSEWHERE"
    if re.search(r"is not a git command|unknown (?:option|switch|subcommand)", said):
        return f"git is too old: {_version(folder)}, and {OLDEST} is needed\n{said.strip().splitlines()[0]}"
    if re.search(r"promisor remote|transport '\w+' not allowed|could not fetch [0-9a-f]{40}", said):
        return f"this clone of {folder} lacks a part that is needed now (it was made with --filter): clone it whole"
    return None


def _version(folder: Path) -> str:
    try:
        return run(["git", "--version"], cwd=folder).stdout.strip().removeprefix("git version ")
    except CommandError:
        return "its version is unknown"
