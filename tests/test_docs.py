"""The pages' commands parse, their links lead somewhere, and the README stays one screen after another."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import loop
from autoresearch.records import TaskFacts
from autoresearch.report.dashboard import result_line
from autoresearch.report.live_state import ResultRow
from autoresearch.serve import app as serve_app
from autoresearch.serve import posts
from autoresearch.serve.nights import NightReader
from testbed.toy import ROOT

PAGES = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "findings/README.md", ROOT / "benchmarks/README.md"]
)


def commands(page: Path, start: str) -> Iterator[list[str]]:
    """Yield the arguments of each command in the page's code blocks that begins with `start`, comments left out."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            before, found, rest = line.partition(start)
            if found and not before.strip().startswith("#"):
                yield shlex.split(rest, comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_the_loop_parses(page: Path) -> None:
    for argv in commands(page, "uv run loop.py"):
        loop.parser().parse_args(argv if argv and not argv[0].startswith("-") else ["run", *argv])


def test_the_page_of_commands_names_every_command() -> None:
    shown = {argv[0] for argv in commands(ROOT / "docs/commands.md", "uv run loop.py") if argv}
    names = {name for group in loop.COMMANDS.values() for name in group}
    assert names - shown == {"run"}  # the default needs no name


def test_every_call_of_the_interface_is_one_that_it_takes() -> None:
    calls = []
    for block in re.findall(r"```sh\n(.*?)```", "".join(page.read_text() for page in PAGES), re.DOTALL):
        words = shlex.split(block.replace("\\\n", " "), comments=True)
        for i, word in enumerate(words):
            if path := word.removeprefix("http://127.0.0.1:8765") if word.startswith("http://127.0.0.1:8765/") else "":
                method = "post" if words[i + 1 : i + 2] == ["--json"] else "get"
                calls.append((method, path.replace("/ID", "/{id}")))
                if method == "post":
                    posts.Posted.model_validate_json(words[i + 2]).made(TaskFacts())
    routes = serve_app.create(NightReader(ROOT)).openapi()["paths"]
    assert len(calls) >= 5 and all(method in routes[path] for method, path in calls)


@pytest.mark.slow
def test_every_option_of_prepare_exists() -> None:
    listed = subprocess.run(
        [sys.executable, "prepare.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    used = {word for page in PAGES for argv in commands(page, "uv run prepare.py") for word in argv if word[0] == "-"}
    assert len(used) >= 3
    assert used <= set(re.findall(r"--[a-z-]+", listed.stdout))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings], (
            target
        )


def test_the_readme_is_short_and_says_first_what_no_mac_has_shown() -> None:
    words = (ROOT / "README.md").read_text().split()
    assert len(words) <= 1000
    assert "No Mac has run it" in " ".join(words[:200])


def test_the_readme_shows_a_line_as_the_program_prints_it() -> None:
    [shown] = re.findall(r"^    (#\d.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    reason = "0.0182 bpb better = 2.6 sigma over 2 runs"
    assert shown == result_line(ResultRow(7, "keep", "Halve the batch", reason, "tuner", 1.402113, 2.6)).plain


@pytest.mark.slow
def test_the_program_prints_every_message_that_troubleshooting_explains() -> None:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "autoresearch").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    printed = "\n".join(node.value for node in nodes if isinstance(node.value, str))
    messages = re.findall(r"^\| `([^`]+)`", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    assert len(messages) >= 20
    for message in messages:
        for part in re.split(r"\.\.\.|\bN\b|\bTAG\b", message):  # what differs from time to time
            assert part.strip() in printed, message


def test_the_page_of_commands_names_every_variable_that_the_program_reads() -> None:
    sources = {path: path.read_text() for path in [*(ROOT / "autoresearch").rglob("*.py"), ROOT / "prepare.py"]}
    reads = re.compile(r"\b(?:env(?:iron)?(?:\.get\(|\.pop\(|\[)|(?:value|flag|choice|whole)\()\"([A-Z_]+)\"")
    read = {name: path.stem for path, source in sources.items() for name in reads.findall(source)}
    internal = {"AUTORESEARCH_EVENTS_FD", "AUTORESEARCH_EVENT_TOKEN", "LD_PRELOAD", "MLX_DISABLE_COMPILE", "PATH"}
    internal |= {"LD_LIBRARY_PATH", "XDG_RUNTIME_DIR"}  # the system's
    page = (ROOT / "docs/commands.md").read_text()
    assert len(read) >= 16
    assert {name for name in set(read) - internal if f"`{name}`" not in page} == set()
    harness = {"prepare", "children", "ops"}  # reads what the loop sets for it
    elsewhere = {name: stem for name, stem in read.items() if stem not in {"environment", "addresses", *harness}}
    assert set(elsewhere) <= internal
