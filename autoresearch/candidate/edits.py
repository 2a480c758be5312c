"""Apply edits to a source, of training's one file or of several, and write them out as a model's reply would. No I/O.

search/llm/replies.py reads edits from a model's reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from autoresearch.candidate import constants, edit_markers, file_edits, syntax
from autoresearch.candidate.file_edits import TextEdit
from autoresearch.candidate.pack import is_packed, unpack, with_file
from autoresearch.errors import EditError, NothingNewError, SourceError
from autoresearch.records import Edit, ReplaceDefinition, SearchReplace, Set, WholeFile

# What the harness calls of train_mlx.py; an edit may change but not remove them.
REQUIRED_FUNCTIONS = ("build_model", "train")


def apply(source: str, edits: Sequence[Edit]) -> str:
    """Return `source` with all of `edits`: blocks and definitions in the given order, then the constants.

    apply("DEPTH = 8\\n...", [Set("DEPTH", "6")]) -> "DEPTH = 6\\n..."

    Raises EditError when an edit does not apply, or when all of them together change nothing, leave invalid Python or
    remove a required function.
    """
    if not edits:
        raise EditError("There is no edit to apply.")
    try:
        text = _applied_in_order(source, edits)
        (_check_languages if is_packed(source) else _check_functions)(source, text)
        unchanged = constants.normalised(text) == constants.normalised(source)
    except SourceError as error:
        raise EditError(f"With these edits the file is {error}") from error
    if unchanged:
        raise NothingNewError("The edits change nothing but comments or layout. Change what the program does.")
    return text


def settled(source: str, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return `edits` as they change `source`: without constants that keep their value, and with formulas evaluated.

    settled("A = 1\nB = 2\n", [Set("A", "1"), Set("B", "B * 2")]) -> (Set("B", "4"),)

    Where the source has paths, blocks and files get theirs, and constants the names that constants.read has for them.
    If all edits keep what there is, they are returned as they are. Raises EditError for a constant that cannot be set.
    """
    try:
        now, text, placed, kept = constants.read(source), source, list[Edit](), list[Edit]()
        for edit in edits:
            edit = _placed(text, edit)
            placed.append(edit)
            if isinstance(edit, Set) and edit.name in now:
                name = edit.name  # two elements of one list are one setting of it
                kept = [other for other in kept if not (isinstance(other, Set) and other.name == name)]
                text = constants.assign(text, edit.name, edit.literal)
                if constants.read(text)[edit.name] == now[edit.name]:
                    continue
                edit = Set(edit.name, constants.literals(text)[edit.name])
            kept.append(edit)
    except SourceError as error:
        raise EditError(f"The file is {error}") from error
    return tuple(kept) or tuple(placed)


def _placed(source: str, edit: Edit) -> Edit:
    """Return an edit with the path that it has in `source`, or a constant by its name there."""
    if not is_packed(source):
        return replace(edit, path=None)
    files = unpack(source)
    if not isinstance(edit, Set):
        return replace(edit, path=_path(files, edit, "The edit"))
    path = file_of(files, edit.path) if edit.path is not None else None
    name, literal = constants.whole(source, edit.name, edit.literal, path)
    known = name in constants.read(source)
    return Set(name, literal) if known else replace(edit, path=path)


def render(edits: Sequence[Edit]) -> str:
    """Write edits as the text of a reply, from which replies.parse reads the same edits.

    render([Set("DEPTH", "6")]) -> "SET DEPTH = 6\\n"

    Raises EditError for a block that holds a line which reads as a marker.
    """
    plain = [_rendered(edit) for edit in edits if edit.path is None]  # first: a path holds for what follows it
    return "\n\n".join([*plain, *(f"### {edit.path}\n{_rendered(edit)}" for edit in edits if edit.path)]) + "\n"


def _applied_in_order(source: str, edits: Sequence[Edit]) -> str:
    text, blocks = source, 0
    for edit in sorted(edits, key=lambda edit: isinstance(edit, Set)):  # constants last: a block may define one
        blocks += isinstance(edit, SearchReplace)
        if isinstance(edit, Set):
            text = _assigned(text, edit, source)
        else:
            text = _applied(text, edit, _label(edit, blocks), source)
    return text


def _label(edit: TextEdit, blocks: int) -> str:
    """Name an edit in errors; SEARCH blocks are counted."""
    match edit:
        case SearchReplace():
            return f"SEARCH block {blocks}"
        case ReplaceDefinition(kind, name):
            return f"REPLACE {kind} {name}"
        case WholeFile():
            return "The file"


def _applied(text: str, edit: TextEdit, label: str, original: str) -> str:
    """Return the source with the edit applied to the file that it is of."""
    if not is_packed(text):
        return file_edits.applied(text, edit, label, original)
    files = unpack(text)
    path = _path(files, edit, label)
    label = label if len(files) == 1 else path if isinstance(edit, WholeFile) else f"{label} in {path}"
    return with_file(text, path, file_edits.applied(files[path], edit, label, unpack(original)[path], path))


def _path(files: Mapping[str, str], edit: TextEdit, label: str) -> str:
    """Return the file that an edit is of: the named one, the main one if it fits, else the only one that it fits."""
    if edit.path is not None:
        return file_of(files, edit.path)
    main = next(iter(files))
    if file_edits.fits(files[main], edit, main):
        return main
    fitting = [path for path, text in files.items() if file_edits.fits(text, edit, path)]
    if len(fitting) > 1:
        raise EditError(f"{label}: it fits {' and '.join(fitting)}. Write a line `### path` before it.")
    return fitting[0] if fitting else main


def file_of(files: Iterable[str], path: str) -> str:
    """Return the file that a path means, in full or by its last parts. Raises EditError where that is not one file.

    >>> file_of(["site/style.css", "site/app.js"], "style.css")
    'site/style.css'
    """
    known, wanted = list(files), path.removeprefix("./")
    found = [file for file in known if file == wanted] or [file for file in known if file.endswith(f"/{wanted}")]
    if len(found) == 1:
        return found[0]
    raise EditError(f"There is no file {path} to change. Files that may change: {', '.join(known)}; none can be added.")


def _assigned(text: str, edit: Set, original: str) -> str:
    path = file_of(unpack(text), edit.path) if edit.path is not None and is_packed(text) else None
    name, literal = constants.whole(text, edit.name, edit.literal, path)
    changed, old = constants.assign(text, name, literal, path), constants.read(original)
    if name in old and old[name] == constants.read(changed).get(name):
        raise NothingNewError(f"SET {edit.name} = {edit.literal} changes nothing: it has that value now. Change it.")
    return changed


def _check_functions(source: str, text: str) -> None:
    """Raise EditError where training's file lost a function that the harness calls."""
    names = {name for name, _ in syntax.definitions(syntax.parse(text))}
    lost = {name for name, _ in syntax.definitions(syntax.parse(source))} - names
    if missing := [f"def {name}" for name in REQUIRED_FUNCTIONS if name in lost]:
        raise EditError(f"With these edits the file lacks {' and '.join(missing)}, which have to stay.")


def _check_languages(source: str, text: str) -> None:
    """Raise EditError where a file was valid in its language and no longer is."""
    before = unpack(source)
    for path, new in unpack(text).items():
        problem = constants.problem(path, new) if new != before[path] else None
        if problem is not None and constants.problem(path, before[path]) is None:
            raise EditError(f"With these edits {path} is {problem}")


def _rendered(edit: Edit) -> str:
    match edit:
        case Set(name, literal):
            return f"SET {name} = {' '.join(literal.split())}"
        case SearchReplace():
            if line := edit_markers.ambiguous_line(edit):
                raise EditError(f"`{line}` reads as a marker and cannot stand in a SEARCH/REPLACE block.")
            return edit_markers.block(edit)
        case ReplaceDefinition(kind, name, body):
            return f"REPLACE {kind} {name}\n{fenced(body)}"
        case WholeFile(source, path):
            return fenced(source, path or "train_mlx.py")


def fenced(body: str, path: str = "train_mlx.py") -> str:
    """Put a Markdown fence around `body` that is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language_of(path)}\n{body}\n{fence}"


def language_of(path: str) -> str:
    """Return the word for a file's language behind a Markdown fence: "python", "sql"; empty where its name has no end.

    >>> language_of("site/style.css")
    'css'
    """
    end = PurePosixPath(path).suffix.removeprefix(".").lower()
    return {"py": "python", "js": "javascript", "md": "markdown"}.get(end, end)
