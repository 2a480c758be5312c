"""The tree of expected failures is the one drawn in its module; each reaches the shell with its exit code."""

from __future__ import annotations

import inspect

from autoresearch import errors


def tree(root: type[Exception], depth: int = 0) -> dict[str, int]:
    found = {root.__name__: depth}
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= tree(child, depth + 1)
    return found


def test_the_drawn_tree_is_that_of_the_classes() -> None:
    lines = [line for line in inspect.getdoc(errors).splitlines() if line.strip().partition(" ")[0].endswith("Error")]
    drawn = {line.split()[0]: (len(line) - len(line.lstrip())) // 2 for line in lines}
    assert drawn == tree(errors.AutoresearchError)


def test_usage_has_an_exit_code_of_its_own() -> None:
    assert errors.UsageError.exit_code == 2
    assert {e.exit_code for e in errors.AutoresearchError.__subclasses__() if e is not errors.UsageError} == {1}


def test_a_failed_command_shows_what_was_said() -> None:
    error = errors.CommandError(["git", "push"], 128, "out\n", "fatal: no remote\n")
    assert str(error) == "`git push` exited with 128:\nfatal: no remote\nout"
    assert str(errors.CommandError(["true"], 1)) == "`true` exited with 1"
    assert (error.argv, error.returncode, error.stdout) == (["git", "push"], 128, "out\n")


def test_a_proposer_says_why_and_what_it_cost() -> None:
    error = errors.ProposerError("no answer", reason="timeout", usage={"seconds": 3.0}, detail="log")
    assert (str(error), error.reason, error.usage, error.detail) == ("no answer", "timeout", {"seconds": 3.0}, "log")
    assert (errors.ProposerError("x").reason, errors.ProposerError("x").usage) == ("failed", {})
