"""What an outside agent finds in its folder: for training, and for a task of several files."""

from __future__ import annotations

from dataclasses import replace

from autoresearch.records import Failure, Proposal, Set
from autoresearch.search import agent_folder
from testbed import declared_context as declared
from testbed.proposer_kit import CONTEXT

OF_TRAINING = ("val_bpb", "train_mlx", "training", "DEPTH", "time budget", "mlx")


def test_training_has_its_one_file() -> None:
    told = agent_folder.task(CONTEXT)
    assert told.startswith("You are the researcher in an automated loop. train_mlx.py in this folder")
    assert "val_bpb is 1.2945; one run's noise (sigma) is 0.0040." in told
    texts = agent_folder.texts(CONTEXT, CONTEXT.source, told)
    assert list(texts) == ["program.md", "HISTORY.md", "PROMPT.md", "train_mlx.py"]


def test_a_declared_task_has_its_files_at_their_paths_and_its_own_words() -> None:
    context = replace(declared.CONTEXT, history=declared.HISTORY)
    told = agent_folder.task(context)
    assert told.startswith("You make a report faster.\n\nMake ONE change to these files in this folder, in place")
    assert "query.sql, conf.toml, run.py. A file that you add is not taken. program.md says what matters" in told
    assert "why p50_ms falls\nCATEGORY: one of query, index, other" in told
    assert "- pages: 1 to 1000\n- mode: one of wal, off" in told
    assert "p50_ms 12.5 ms, and lower is better; one run's noise (sigma) is 2.0%." in told
    texts = agent_folder.texts(context, context.source, told)
    assert {path: texts[path] for path in declared.FILES} == declared.FILES
    assert texts["schema.sql"].startswith("CREATE TABLE") and "#1 keep 11.31 ms (+9.5%)" in texts["HISTORY.md"]
    assert [word for word in OF_TRAINING if word in told + texts["HISTORY.md"]] == []


def test_the_loops_files_leave_the_names_of_the_tasks_alone() -> None:
    facts = replace(declared.FACTS, files=("agent.py", "prompt.md"))
    context = replace(declared.CONTEXT, task=facts, brief=replace(declared.BRIEF, read={"note.md": "x"}))
    own = agent_folder.names(context)
    assert (own.prompt, own.note, own.history) == ("AUTORESEARCH-PROMPT.md", "AUTORESEARCH-NOTE.md", "HISTORY.md")
    assert "AUTORESEARCH-NOTE.md with these three lines" in agent_folder.task(context)


def test_a_failure_is_told_in_the_words_of_the_task() -> None:
    proposal = Proposal((Set("pages", "20"),), "More pages", "", "query", "command")
    told = agent_folder.mend(declared.CONTEXT, proposal, Failure("guard", "other rows", "3 rows differ"))
    assert told.endswith(
        "## The last change failed\n\nquery.sql, conf.toml, run.py hold that change, \"More pages\". "
        "It failed (guard): other rows\n\n3 rows differ\n\nMend it in place.\n"
    )  # fmt: skip
