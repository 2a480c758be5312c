"""Expected failures, as one tree. Each carries the cause, the numbers and, where there is one, the next command.

AutoresearchError            exit 1: something a person can mend
  UsageError                 exit 2: the command line asks for what cannot be
  DataError                  the data is missing, corrupt or too small; names the command that mends it
  GitError                   git refused; carries command, exit code and both streams
  JournalError               the journal cannot be continued (another data set, budget, version, or it is damaged)
  BundleError                a file of findings cannot be read, or a night cannot be written as one
  LockedError                another loop holds this machine or this checkout
  SandboxError               a candidate cannot be confined here; says how to go on without
  SourceError                a version of the editable file is not valid Python
  EditError                  a reply holds no usable edit, or an edit does not apply; the text is shown to the model
    RepeatError              the edits make what this night has measured already
  ExhaustedError             no proposer has a new idea; what was found so far is validated all the same
  CommandError               a subprocess failed; carries command, exit code and both streams
  ProposerError              a proposer cannot give a proposal now; the loop goes on with another
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class AutoresearchError(Exception):
    """The root of expected failures. `str(error)` is what the user reads; `exit_code` is what the shell sees."""

    exit_code = 1


class UsageError(AutoresearchError):
    exit_code = 2


class DataError(AutoresearchError):
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


class RepeatError(EditError):
    pass


class ExhaustedError(AutoresearchError):
    pass


class CommandError(AutoresearchError):
    """A subprocess exited with a code that its caller did not expect."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: str = "", stderr: str = "") -> None:
        self.argv, self.returncode, self.stdout, self.stderr = list(argv), returncode, stdout, stderr
        streams = "\n".join(s.strip() for s in (stderr, stdout) if s.strip())
        super().__init__(f"`{' '.join(argv)}` exited with {returncode}" + (f":\n{streams}" if streams else ""))


class GitError(CommandError):
    pass


class ProposerError(AutoresearchError):
    """No proposal now. `reason` is a word for the journal, `usage` what the attempt cost (as Proposal.usage)."""

    def __init__(
        self, message: str, *, reason: str = "failed", usage: Mapping[str, float] | None = None, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.reason, self.usage, self.detail = reason, dict(usage or {}), detail  # detail: a reply's beginning, a log
