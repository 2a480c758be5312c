"""The outside agent, with real commands: its files, its result, and its failures."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.candidate import edits
from autoresearch.errors import ProposerError, UsageError
from autoresearch.records import Context, Directive, Failure, Proposal, SearchReplace, Set, TaskFacts, Trial, WholeFile
from autoresearch.search import command
from autoresearch.search.command import CommandProposer

SOURCE = """DEPTH = 4  # layers
LR = 0.1
BETAS = (0.9, 0.95)


def build_model(task):
    return DEPTH


def train(model, run):
    return LR, BETAS
"""

EDIT = """
import pathlib
file = pathlib.Path("train_mlx.py")
text = file.read_text()
"""


def agent(tmp_path: Path, script: str, *, timeout_s: float = 30.0) -> CommandProposer:
    """Return a command that runs a Python script, in which `file` and `text` are the train_mlx.py of its folder."""
    path = tmp_path / "the agent.py"
    path.write_text(EDIT + script)
    return CommandProposer(f"{shlex.quote(sys.executable)} {shlex.quote(str(path))}", timeout_s=timeout_s)


def context(source: str = SOURCE, **more: object) -> Context:
    task = TaskFacts(seq_len=256, vocab_size=1024, budget_s=20)
    return Context(source, 1.2345, 0.0123, "The brief: be brief.", task, "Mac mini M4, 10 cores", **more)  # type: ignore[arg-type]


def proposed(tmp_path: Path, script: str) -> Proposal:
    (proposal,) = agent(tmp_path, script).propose(context())
    return proposal


# --- what comes back --------------------------------------------------------------------------------------------------


def test_changed_constants_are_set_edits(tmp_path: Path) -> None:
    proposal = proposed(
        tmp_path,
        'file.write_text(text.replace("DEPTH = 4  # layers", "DEPTH = 2  # fewer").replace("0.95", "0.99"))\n'
        'pathlib.Path("NOTE.md").write_text("TITLE: Halve the depth\\nHYPOTHESIS: More steps.\\nCATEGORY: Depth\\n")',
    )
    assert proposal.edits == (Set("DEPTH", "2"), Set("BETAS", "(0.9, 0.99)"))
    assert (proposal.title, proposal.hypothesis, proposal.category) == ("Halve the depth", "More steps.", "depth")
    assert proposal.proposer == "command"
    assert proposal.usage["seconds"] > 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return DEPTH", "return DEPTH + 1"),
        ("DEPTH = 4", "DEPTH = 4.5"),  # another type: no SET
        ("LR = 0.1", "LR = 0.2\\nDECAY = 0.1"),  # a new constant
        ("LR = 0.1\\n", "LR = 0.2\\nprint(LR)\\n"),  # a constant and code
    ],
)
def test_any_other_change_is_the_whole_file(tmp_path: Path, old: str, new: str) -> None:
    proposal = proposed(tmp_path, f'file.write_text(text.replace("{old}", "{new}"))')
    (edit,) = proposal.edits
    assert isinstance(edit, WholeFile)
    assert edits.apply(SOURCE, proposal.edits) == edit.source != SOURCE


@pytest.mark.parametrize(
    ("note", "printed", "title", "category"),
    [
        ("", "Done.\\nTITLE: Two layers\\nCATEGORY: depth\\n", "Two layers", "depth"),
        ("", "**TITLE:** `Two layers`\\n- CATEGORY: learning rate", "Two layers", "learning_rate"),
        ("", "\\x1b[1mTITLE:\\x1b[0m Two \\x1b[32mlayers\\x1b[0m", "Two layers", "other"),
        ("", "TITLE: first thought\\nTITLE: second thought\\n", "second thought", "other"),
        ("TITLE: from the note\\n", "TITLE: from the log\\nCATEGORY: batch", "from the note", "batch"),
        ("# Two layers are enough\\n\\n", "", "Two layers are enough", "other"),
        ("", "I looked around.\\nI halved the depth.\\n\\n", "I halved the depth.", "other"),
        ("", "", "1 line changed", "other"),
        ("", "TITLE: " + "x" * 200, "x" * 79, "other"),
    ],
)
def test_the_title_comes_from_the_note_else_from_what_it_prints(
    tmp_path: Path, note: str, printed: str, title: str, category: str
) -> None:
    script = f'file.write_text(text.replace("DEPTH = 4", "DEPTH = 2"))\nprint("{printed}")\n'
    proposal = proposed(tmp_path, script + (f'pathlib.Path("NOTE.md").write_text("{note}")' if note else ""))
    assert (proposal.title, proposal.category) == (title, category)


@given(st.text(max_size=300))
def test_whatever_it_prints_is_read_as_at_most_a_line(text: str) -> None:
    values = [*command._fields(text).values(), command._last_line(text)]
    assert all(value.isprintable() and "\n" not in value for value in values)


# --- what it is given -------------------------------------------------------------------------------------------------


def test_it_finds_the_file_the_brief_the_history_and_the_prompt(tmp_path: Path) -> None:
    changed = edits.apply(SOURCE, [Set("LR", "0.3")])
    tried = Trial(
        1,
        "tuner",
        "LR 0.1 -> 0.3",
        "",
        "learning_rate",
        (Set("LR", "0.3"),),
        changed,
        SOURCE,
        "discard",
        "",
        -0.02,
        0.01,
        1.3,
    )
    seen = tmp_path / "seen"
    seen.mkdir()
    script = f"""
import os, shutil, sys
pathlib.Path({str(seen)!r}, "stdin").write_text(sys.stdin.read())
pathlib.Path({str(seen)!r}, "folder").write_text(os.getcwd())
for name in os.listdir():
    shutil.copy(name, {str(seen)!r})
file.write_text(text.replace("DEPTH = 4", "DEPTH = 2"))
"""
    agent(tmp_path, script).propose(context(history=(tried,), directive=Directive("refine", "Refine what helped.")))
    assert {path.name for path in seen.iterdir()} == {
        "train_mlx.py", "program.md", "HISTORY.md", "PROMPT.md", "stdin", "folder",
    }  # fmt: skip
    assert (seen / "train_mlx.py").read_text() == SOURCE
    assert (seen / "program.md").read_text() == "The brief: be brief."
    told = (seen / "PROMPT.md").read_text()
    assert told == (seen / "stdin").read_text()
    for fact in ("1.2345", "0.0123", "Mac mini M4", "Refine what helped.", "budget_s=20", "NOTE.md", "learning_rate"):
        assert fact in told
    assert "LR: .1* .3-" in (seen / "HISTORY.md").read_text()
    assert "#1 discard -2.0s" in (seen / "HISTORY.md").read_text()
    assert not Path((seen / "folder").read_text()).exists()  # the scratch folder goes with its turn


def test_without_history_it_is_told_so(tmp_path: Path) -> None:
    script = f'import shutil; shutil.copy("HISTORY.md", {str(tmp_path)!r}); file.write_text(text + "X = 1\\n")'
    agent(tmp_path, script).propose(context())
    assert (tmp_path / "HISTORY.md").read_text() == "Nothing has been tried yet.\n"


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "reason", "message"),
    [
        ("", "unusable", "was left as it was"),
        ('file.write_text("# a remark\\n" + text)', "unusable", "was left as it was"),
        ("file.unlink()", "unusable", "no readable train_mlx.py"),
        ('file.write_bytes(b"\\xff\\xfe")', "unusable", "no readable train_mlx.py"),
        ('file.write_text("def (")', "unusable", "not valid Python"),
        ('file.write_text("# " + "x" * 300_000)', "unusable", "over 200000 bytes"),
        ('file.write_text("DEPTH = 4\\n")', "unusable", "lacks def build_model and def train"),
        ("file.unlink(); file.mkdir()", "unusable", "no readable train_mlx.py"),
        ("file.unlink(); import os; os.mkfifo(file)", "unusable", "it is not a regular file"),
        ('file.unlink(); file.symlink_to("/dev/zero")', "unusable", "it is not a regular file"),
        ("import os; os.truncate(file, 3 * 10**9)", "unusable", "over 200000 bytes"),
        ("raise SystemExit(3)", "command", "exited with 3: it said nothing"),
        ('file.write_text("def ("); raise SystemExit(3)', "command", "exited with 3: it said nothing"),
        ('import sys; sys.exit("no model is loaded")', "command", "exited with 1: no model is loaded"),
    ],
)
def test_no_usable_change_is_a_failed_turn_with_its_cause(
    tmp_path: Path, script: str, reason: str, message: str
) -> None:
    with pytest.raises(ProposerError, match=message) as raised:
        agent(tmp_path, script).propose(context())
    assert raised.value.reason == reason


HALVED = 'file.write_text(text.replace("DEPTH = 4", "DEPTH = 2"))\n'


def test_a_good_change_of_a_command_that_fails_is_kept_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    script = HALVED + 'print("out of credit"); raise SystemExit(1)'
    command = agent(tmp_path, script)
    command.say = told.append
    (proposal,) = command.propose(context())
    assert proposal.edits == (Set("DEPTH", "2"),)
    assert proposal.usage["exit_code"] == 1
    assert "exited with 1: out of credit; its change" in told[0]


def test_what_it_left_running_ends_with_it_and_its_change_counts(tmp_path: Path) -> None:
    """A background process that holds the output neither delays the turn nor goes on beside the training."""
    ticks = tmp_path / "ticks"
    child = f"""
import pathlib, time
while True:
    pathlib.Path({str(ticks)!r}).write_text(str(time.time()))
    time.sleep(0.02)
"""
    script = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}], start_new_session=True)
while not pathlib.Path({str(ticks)!r}).exists():
    time.sleep(0.01)
print("TITLE: Two layers", flush=True)
"""
    (proposal,) = agent(tmp_path, HALVED + script).propose(context())
    assert (proposal.edits, proposal.title) == ((Set("DEPTH", "2"),), "Two layers")
    last = ticks.read_text()
    time.sleep(0.2)
    assert ticks.read_text() == last


@pytest.mark.parametrize(
    ("note", "title"),
    [
        ('write_bytes(b"TITLE: caf\\xe9 \\xff\\n")', "TITLE: caf\ufffd \ufffd".removeprefix("TITLE: ")),
        ('write_text("TITLE: Two layers", encoding="utf-16")', "Two layers"),
        ('write_text("TITLE: Two layers\\n" + "x" * 300_000)', "Two layers"),
        ("mkdir()", "1 line changed"),
        ('symlink_to("/dev/zero")', "1 line changed"),
    ],
)
def test_an_odd_note_does_not_cost_the_change(tmp_path: Path, note: str, title: str) -> None:
    proposal = proposed(tmp_path, HALVED + f'pathlib.Path("NOTE.md").{note}')
    assert (proposal.edits, proposal.title) == ((Set("DEPTH", "2"),), title)


def test_a_byte_order_mark_and_foreign_line_ends_are_no_change(tmp_path: Path) -> None:
    proposal = proposed(
        tmp_path, 'file.write_bytes(b"\\xef\\xbb\\xbf" + text.replace("= 4", "= 2").replace("\\n", "\\r\\n").encode())'
    )
    assert proposal.edits == (Set("DEPTH", "2"),)


@pytest.mark.slow
def test_one_that_runs_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    child = f"""
import pathlib, time
while True:
    pathlib.Path({str(ticks)!r}).write_text(str(time.time()))
    time.sleep(0.05)
"""
    script = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}])
print("thinking", flush=True)
time.sleep(60)
"""
    started = time.monotonic()
    with pytest.raises(ProposerError, match="had not ended after 3 s") as raised:
        agent(tmp_path, script, timeout_s=3.0).propose(context())
    assert time.monotonic() - started < 20
    assert (raised.value.reason, raised.value.usage) == ("timeout", {"seconds": 3.0})
    last = ticks.read_text()
    time.sleep(0.5)
    assert ticks.read_text() == last


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is empty"),
        ("agent 'unbalanced", "cannot be read"),
        ("no-such-agent-here --yes", "no program 'no-such-agent-here'"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_at_once(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandProposer(line)


def test_no_shell_stands_between(tmp_path: Path) -> None:
    path = tmp_path / "agent.py"
    path.write_text(EDIT + 'import sys; print(sys.argv[1:]); file.write_text(text + "X = 1\\n")')
    (proposal,) = CommandProposer(f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} 'a b' $HOME ; *").propose(
        context()
    )
    assert proposal.title == "['a b', '$HOME', ';', '*']"


# --- mending ----------------------------------------------------------------------------------------------------------


def test_a_failed_change_goes_back_with_its_reason(tmp_path: Path) -> None:
    broken = Proposal(
        (SearchReplace("    return DEPTH", "    return DEPHT"),), "A typo", "It helps.", "speed", "command"
    )
    script = """
import sys
told = sys.stdin.read()
assert "NameError: name 'DEPHT'" in told and '"A typo"' in told and "DEPHT" in text
file.write_text(text.replace("DEPHT", "DEPTH * 2"))
"""
    failure = Failure("build", "the model cannot be built", "Traceback\nNameError: name 'DEPHT' is not defined")
    mended = agent(tmp_path, script).repair(context(), broken, failure)
    assert mended is not None
    assert (mended.title, mended.hypothesis, mended.category) == ("A typo", "It helps.", "speed")
    assert "return DEPTH * 2" in edits.apply(SOURCE, mended.edits)


@pytest.mark.parametrize("script", ["", "raise SystemExit(1)"])
def test_what_cannot_be_mended_is_given_up(tmp_path: Path, script: str) -> None:
    broken = Proposal((Set("DEPTH", "400"),), "Deep", "", "depth", "command")
    assert agent(tmp_path, script).repair(context(), broken, Failure("slow", "too slow")) is None
    stale = Proposal((SearchReplace("not there", "x"),), "Stale", "", "other", "command")
    assert agent(tmp_path, script).repair(context(), stale, Failure("slow", "too slow")) is None
