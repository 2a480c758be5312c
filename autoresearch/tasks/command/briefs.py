"""Write what proposers are told of a declared task."""

from __future__ import annotations

from pathlib import Path

from autoresearch import texts
from autoresearch.metrics import Metric
from autoresearch.records import Brief
from autoresearch.search.recipes import recipe
from autoresearch.tasks.command import tree
from autoresearch.tasks.command.base import IDEAS, Base
from autoresearch.tasks.command.globs import matching
from autoresearch.tasks.command.keys import Declaration

READ_CHARS = 20_000  # of one file that is shown beside the editable ones
WHO = {
    "judged": "A judge in another process, which never runs your code, computes it",
    "clocked": "The loop measures it itself",
    "reported": "The program prints it",
}


def brief(folder: Path, base: Base, metric: Metric) -> Brief:
    """Return role, files to read, knobs, categories and ideas of a task."""
    declared = base.declared
    fixed = {path: file for path, file in tree.files_below(base.folder).items() if file.is_file()}
    shown = {path: _shown(fixed[path]) for path in matching(declared.read, fixed) if path not in base.hidden}
    return Brief(
        role=role(declared, list(base.edited), metric),
        categories=declared.categories,
        knobs={name: tuple(values) for name, values in declared.knobs.items()},
        read=shown,
        ideas=ideas(folder),
    )


def role(declared: Declaration, files: list[str], metric: Metric) -> str:
    """Return the beginning of a prompt: what is edited, what judges it, and the answer's use."""
    unit = f" in {metric.unit}" if metric.unit else ""
    lines = [
        "You are the researcher in an automated loop. You change " + _listed(files) + "; the loop measures the result. "
        f"The number is {metric.name}{unit}, and {metric.direction} is better. {WHO[metric.trust]}.",
        f"A change that measurably improves {metric.name} is kept and becomes the new version; any other is undone. "
        "You answer with ONE change at a time, so that its effect can be seen.",
    ]
    if declared.run:
        lines.append(f"`{declared.run}` runs for {declared.timeout_s:g} s at most and may write only below ./out.")
    if declared.guard:
        lines.append("A version is refused where one of these fails: " + _listed([g.run for g in declared.guard]) + ".")
    for limit in declared.limit:
        most = f"{limit.max:g}" if limit.max is not None else f"{limit.max_ratio:g} times the baseline's"
        lines.append(f"{limit.metric} may be {most} at most.")
    return "\n".join(lines) + "\n"


def program(folder: Path, declared: Declaration) -> str:
    """Return the text of the file that `brief` names, "" where there is none."""
    return texts.brief(folder / declared.brief)


def ideas(folder: Path) -> dict[str, str]:
    """Return the ready-made changes of ideas/*.txt by their names, in the order of the names."""
    found = sorted((folder / IDEAS).glob("[!.]*.txt"))
    return {path.stem: path.read_bytes().decode("utf-8", "replace") for path in found if path.is_file()}


def unreadable(folder: Path, files: tuple[str, ...], declared: Declaration) -> tuple[str, ...]:
    """Return a sentence for each idea of the folder that cannot be read."""
    return recipe.ideas(tuple(ideas(folder).items()), files, declared.categories)[1]


def _shown(path: Path) -> str:
    text = path.read_bytes().decode("utf-8", "replace")
    return text if len(text) <= READ_CHARS else f"{text[:READ_CHARS]}\n... ({len(text) - READ_CHARS:,} characters more)"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
