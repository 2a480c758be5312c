"""The outside agent on a task of several files, with real commands."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.candidate import edits
from autoresearch.candidate.pack import unpack
from autoresearch.errors import ProposerError
from autoresearch.records import Edit, Failure, Proposal, SearchReplace, Set, WholeFile
from autoresearch.search.command import CommandProposer
from testbed.declared_context import CONTEXT, FILES, SOURCE

HEAD = "import pathlib\nsql, conf, run = map(pathlib.Path, ('query.sql', 'conf.toml', 'run.py'))\n"
SQL = "SELECT id\nFROM people\nWHERE age > 3\n"


def agent(folder: Path, script: str) -> CommandProposer:
    path = folder / "agent.py"
    path.write_text(HEAD + script)
    return CommandProposer(f"{shlex.quote(sys.executable)} {shlex.quote(str(path))}", timeout_s=30.0)


@pytest.mark.parametrize(
    ("script", "change"),
    [
        ("conf.write_text(conf.read_text().replace('10', '20').replace('cache', 'page cache'))", (Set("pages", "20"),)),
        ("sql.write_text(sql.read_text().replace('name', 'id'))", (WholeFile(SQL, "query.sql"),)),
        (
            "run.write_text(run.read_text().replace('8', '9'))\n"
            "pathlib.Path('try.py').write_text('import run')",  # a scratch file that nothing names
            (Set("LIMIT", "9"),),
        ),
        (
            "sql.write_bytes(sql.read_bytes().replace(b'name', b'id').replace(b'\\n', b'\\r\\n'))\n"
            "run.write_text(run.read_text().replace('8', '9'))",
            (WholeFile(SQL, "query.sql"), WholeFile(FILES["run.py"].replace("8", "9"), "run.py")),
        ),
    ],
)
def test_what_it_leaves_is_the_proposal(tmp_path: Path, script: str, change: tuple[Edit, ...]) -> None:
    note = "pathlib.Path('NOTE.md').write_text('TITLE: Faster\\nCATEGORY: Index\\n')"
    (proposal,) = agent(tmp_path, f"{script}\n{note}").propose(CONTEXT)
    assert proposal.edits == change
    assert (proposal.title, proposal.category) == ("Faster", "index")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("", "query.sql, conf.toml, run.py were left as they were"),
        ("sql.write_text(sql.read_text().rstrip() + '  \\n\\n')", "were left as they were"),
        ("sql.unlink()", "left no readable query.sql"),
        ("conf.write_text('pages = ')", "With these edits conf.toml is not valid TOML"),
        ("pathlib.Path('schema.sql').write_text('x')", "were left as they were"),
        (
            "pathlib.Path('helpers.py').write_text('y = 1')\nrun.write_text(run.read_text() + 'import helpers\\n')",
            "it added helpers.py, and a version has no other files than before",
        ),
    ],
)
def test_what_is_no_change_is_refused(tmp_path: Path, script: str, why: str) -> None:
    with pytest.raises(ProposerError, match=why):
        agent(tmp_path, script).propose(CONTEXT)


def test_a_failed_change_goes_back_with_its_reason(tmp_path: Path) -> None:
    broken = Proposal((SearchReplace("SELECT name", "SELECT nme", "query.sql"),), "Names", "", "query", "command")
    script = "assert 'nme' in sql.read_text()\nsql.write_text(sql.read_text().replace('nme', 'id'))"
    mended = agent(tmp_path, script).repair(CONTEXT, broken, Failure("guard", "no such column: nme"))
    assert mended is not None and unpack(edits.apply(SOURCE, mended.edits)) == {**FILES, "query.sql": SQL}


def test_files_lie_at_their_paths(tmp_path: Path) -> None:
    source = SOURCE.replace("=== query.sql,", "=== a/b/query.sql,")
    script = "path = pathlib.Path('a/b/query.sql')\npath.write_text(path.read_text().replace('3', '4'))"
    (proposal,) = agent(tmp_path, script).propose(replace(CONTEXT, source=source))
    assert [edit.path for edit in proposal.edits] == ["a/b/query.sql"]
