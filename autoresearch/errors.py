"""Define the expected failures, as one tree. A message states the cause, the numbers and, if there is one, a remedy.

AutoresearchError            exit code 1
  UsageError                 exit code 2: the command line asks for something impossible
  DataError                  the data is missing, corrupt or too small; names the command that mends it
  TaskError                  task.toml cannot be used; names its line and a remedy
  JournalError               the journal is damaged, or belongs to another data set, budget or version
  BundleError                a file of findings cannot be read, or a night cannot be exported as one
  LockedError                another process trains on this machine, or a loop holds this checkout
  SandboxError               a candidate cannot be confined here; names the option to run without
  SourceError                a version of the editable file is not valid Python
  EditError                  a reply holds no usable edit, or an edit does not apply; the model is shown the message
    NothingNewError          the edits leave what the file does, or make what the turn has proposed already
      RepeatError            the edits make a source that this night has measured already
  ExhaustedError             no proposer has a new idea; the final validation still runs
    NothingLeftError         the proposers have tried all that they have: the end of a night, and no fault
  CommandError               a subprocess failed; carries command, exit code and both streams
    GitError                 git failed
  ProposerError              a proposer has no proposal now; the loop continues with another
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class AutoresearchError(Exception):
    """Root of the expected failures. exits.py prints the message and returns `exit_code` to the shell."""

    exit_code = 1


class UsageError(AutoresearchError):
    exit_code = 2


class DataError(AutoresearchError):
    pass


class TaskError(AutoresearchError):
    pass


class JournalError(AutoresearchError):
    pass


class BundleError(AutoresearchError):
    pass


class LockedError(AutoresearchError):
    pass


class SandboxError(AutoresearchError):
    pass


class SourceError(AutoresearchError):
    pass


class EditError(AutoresearchError):
    pass


class NothingNewError(EditError):
    pass


class RepeatError(NothingNewError):
    pass


class ExhaustedError(AutoresearchError):
    pass


class NothingLeftError(ExhaustedError):
    pass


class CommandError(AutoresearchError):
    """A subprocess could not be started, did not end in time, or exited with an unexpected code."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: str = "", stderr: str = "") -> None:
        self.argv, self.returncode, self.stdout, self.stderr = list(argv), returncode, stdout, stderr
        streams = "\n".join(s.strip() for s in (stderr, stdout) if s.strip())
        super().__init__(f"`{' '.join(argv)}` exited with {returncode}" + (f":\n{streams}" if streams else ""))


class GitError(CommandError):
    pass


class ProposerError(AutoresearchError):
    """A proposer has no proposal now.

    `reason` is a word for the journal, `usage` the cost of the attempt (as Proposal.usage), and `detail` a part of a
    reply or a log.
    """

    def __init__(
        self, message: str, *, reason: str = "failed", usage: Mapping[str, float] | None = None, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.reason, self.usage, self.detail = reason, dict(usage or {}), detail
