"""Read edits that a reply writes in no form that was asked for: assignments without SET, and unified diffs. No I/O.

Both also appear in prose about the script as it is. An assignment is an edit only where the text around it says nothing
else, and a diff only replaces what the script has: its old lines are searched like those of a SEARCH block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

from autoresearch.candidate import constants
from autoresearch.candidate.edit_markers import BEGIN_LINE
from autoresearch.errors import EditError
from autoresearch.records import SearchReplace
from autoresearch.search.llm.fences import FENCE

# Each pattern matches one line, in linear time.
_BARE = re.compile(r"([A-Z][A-Z0-9_]*)\s*(?::\s*\w+\s*)?=(?!=)(.+)")
_SIGNED = re.compile(r"([-+])\s*(?:SET\s+)?([A-Z][A-Z0-9_]*\s*(?::\s*\w+\s*)?=(?!=).*)")
_DIFF_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\s*(?:diff|patch|udiff)\b.*", re.IGNORECASE)
_REMARK = re.compile(r"\s(?:#(?s:.*)|\((?:was|from|currently|current|instead|previously|default|old)\b[^()]*\))\Z")
# The beginning of a remark that follows a literal without a comment sign.
_UNMARKED_REMARK = re.compile(r"\s(?:\(|//(?!\s*\d+\s*\Z)|<-|—|–|-\s+[A-Za-z]|because\b|instead\b)")
_RANGE = re.compile(r"[\d.]+\s*[-–—]\s*[\d.]+")
_ARROW = re.compile(r"->|→")
_MARK = re.compile(r"\s*(?:<{3,}|>{3,})\s*(?:\w+\s*)?")
# Signs that models write for those of ASCII: in Chinese and Japanese the wide ones, in mathematics − and ×.
_PLAIN = {code + 0xFEE0: code for code in range(0x21, 0x7F)} | str.maketrans("“”‘’−×", "\"\"''-*")
_NEXT = re.compile(r"[,;\s][A-Za-z_]\w*\s*=(?!=)")  # another setting behind a value
MAX_LITERAL_CHARS = 4000

_HEADER = re.compile(r"(?:diff --git |index [0-9a-f]|--- |\+\+\+ |@@).*")
_HUNK_LINE = re.compile(r"[ +\-@\\]|\Z|diff --git |index [0-9a-f]")
_FIELD = re.compile(r"\W*(?:HYPOTHESIS|CATEGORY|TITLE)\b.*", re.IGNORECASE)

_WORD = re.compile(r"[a-z']+")


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


# Words of a line that says what the script has, or what is not to be done; and of one that announces a change.
_PRESENT = _words("""
    current currently present presently existing old original originally before previous previously baseline was were
    unchanged default defaults remain remains stay stays keep leave already far now has have had reference given tried
    not never don't won't wouldn't instead rather
""")
_CHANGE = _words("""
    change changes changed set new propose proposed proposal suggest suggested suggestion try use update updated edit
    edits after answer modify modified modification should let's would raise lower increase decrease reduce halve
    double become becomes to
""")
# Words of a remark behind a value that name it as the present one, and those that name another value instead.
_STATED = _words("current currently present unchanged existing remains stays")
_OTHER_VALUE = _words("was from than instead")


def is_stated(remark: str) -> bool:
    """Return whether a remark behind a value says that the script has it: " (unchanged)", but not " (currently 8)"."""
    words = _words(remark)
    return not words.isdisjoint(_STATED) and words.isdisjoint(_OTHER_VALUE) and not any(map(str.isdigit, remark))


def plain_literal(text: str) -> str:
    """Strip marks and remarks from a literal: " 0.05` (was 0.04)" -> "0.05", "8 -> 6 // fewer" -> "6".

    Raises EditError for a range, since Python would read `4-6` as -2.
    """
    text = _REMARK.sub("", text[:MAX_LITERAL_CHARS].strip("`* \t")).strip("`* \t").rstrip(";,.")
    text = text if is_literal(text) else text.translate(_PLAIN)  # a string keeps its signs
    if not is_literal(text) and (remark := _UNMARKED_REMARK.search(text)):
        text = text[: remark.start()].rstrip(" `*;,.")
    before, arrow, after = _ARROW.sub("→", text, count=1).partition("→")
    if arrow and is_literal(before.strip("`* \t")):
        text = after.strip("`* \t")
    if _RANGE.fullmatch(text):
        raise EditError(f"`{text[:40]}` reads as a range. Give one value.")
    return text


def check_single(literal: str) -> None:
    """Raise EditError where a value is followed by another setting: "6, MATRIX_LR = 0.05"."""
    if _NEXT.search(literal) and not is_literal(literal):
        raise EditError(f"`{literal[:60]}` holds two settings. Write each SET on a line of its own.")


def is_literal(text: str) -> bool:
    """Return whether a text is a literal or arithmetic of literals."""
    try:
        constants.evaluate(text)
    except ValueError:
        return False
    return True


# --- assignments ------------------------------------------------------------------------------------------------------


def bare(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the assignments without SET that are meant as edits, as (name, text behind the sign).

    bare(["New values:", "DEPTH = 6"]) -> ("DEPTH", " 6"); bare(["The script has", "DEPTH = 8"]) -> nothing
    """
    bullets = not any(line.lstrip().startswith("+") for line in lines)
    found = [_assignment(line, bullets) for line in lines]
    texts = [line if match is None and _says(line) else None for line, match in zip(lines, found, strict=True)]
    before, after = _nearest(texts), _nearest(texts[::-1])[::-1]
    for at, match in enumerate(found):
        if match is not None and _announces(before[at]) and not _denies(after[at]) and not is_stated(_remark(match[2])):
            yield match[1], match[2]


def _nearest(texts: Sequence[str | None]) -> list[str]:
    """Return for each place the last text up to it: [None, "a", None, "b"] -> ["", "a", "a", "b"]."""
    return list(accumulate(texts, lambda last, text: last if text is None else text, initial=""))[1:]


def _assignment(line: str, bullets: bool) -> re.Match[str] | None:
    """Match a line that is an assignment; a minus is a bullet only before a blank, and only outside of diffs."""
    text = line.strip()
    if text.startswith("-"):
        text = text[1:] if bullets and text[1:2] == " " else ""
    return _BARE.fullmatch(text.strip(" `*"))


def _announces(before: str) -> bool:
    """Return whether the line before an assignment lets it be an edit: none, a field, or words of a change."""
    if not before:
        return True
    if _FIELD.fullmatch(before):
        return not before.rstrip(" *_").endswith((":", " is", " are")) or len(before) < 20  # "TITLE:" alone is empty
    return not _words(before).isdisjoint(_CHANGE) and _words(before).isdisjoint(_PRESENT)


def _denies(after: str) -> bool:
    """Return whether the line after an assignment says that the script has it."""
    return bool(after) and not _FIELD.fullmatch(after) and not _words(after).isdisjoint(_PRESENT)


def _says(line: str) -> bool:
    """Return whether a line holds words; marks around an edit, such as a fence or `<<<search`, do not count."""
    return bool(line.strip()) and not FENCE.fullmatch(line) and not _MARK.fullmatch(line)


def _remark(text: str) -> str:
    """Return what stands behind the value: " 8  # current" -> "# current"."""
    return text.strip().partition(" ")[2].strip()


# --- diffs ------------------------------------------------------------------------------------------------------------


def without_diffs(lines: Sequence[str]) -> tuple[list[str], list[SearchReplace]]:
    """Take the unified diffs out of a reply. Return its other lines and one edit a hunk.

    without_diffs(["-DEPTH = 8", "+DEPTH = 3", "Why?"]) -> (["Why?"], [SearchReplace("DEPTH = 8", "DEPTH = 3")])
    """
    rest: list[str] = []
    hunks: list[list[str]] = []
    at = 0
    while at < len(lines):
        end = max(at + 1, _diff_end(lines, at))
        found = _hunks(lines[at:end]) if end > at + 1 else []
        hunks += found
        rest += [] if found else lines[at:end]
        at = end
    if not hunks:
        signed = [match for line in rest if (match := _SIGNED.fullmatch(line.strip()))]
        if {match[1] for match in signed} == {"-", "+"}:  # a diff without any header
            hunks = [[match[1] + match[2] for match in signed]]
            rest = [line for line in rest if not _SIGNED.fullmatch(line.strip())]
    return rest, [_block(hunk) for hunk in hunks]


def _diff_end(lines: Sequence[str], start: int) -> int:
    """Return the number of the line after the diff that begins at `start`; 0 when none begins there."""
    if _DIFF_FENCE.fullmatch(lines[start]):
        end = next((i for i in range(start + 1, len(lines)) if FENCE.fullmatch(lines[i])), len(lines))
        return 0 if any(BEGIN_LINE.fullmatch(line) for line in lines[start + 1 : end]) else min(end + 1, len(lines))
    following = lines[start + 1] if start + 1 < len(lines) else ""
    names = lines[start].startswith("--- ") and following.startswith("+++ ")
    if names or lines[start].startswith(("diff --git ", "@@")):
        inside = (i for i in range(start + 1, len(lines)) if not _HUNK_LINE.match(lines[i]))
        return next(inside, len(lines))
    return 0


def _hunks(lines: Sequence[str]) -> list[list[str]]:
    """Split the lines of a diff at its headers; fences and remarks about line ends are dropped."""
    hunks: list[list[str]] = [[]]
    for line in lines:
        if _HEADER.fullmatch(line):
            hunks.append([])
        elif not (FENCE.fullmatch(line) or line.startswith("\\")):
            hunks[-1].append(line)
    return [hunk for hunk in hunks if any(line[:1] in ("-", "+") for line in hunk)]


def _block(hunk: Sequence[str]) -> SearchReplace:
    """Return the edit of one hunk: unchanged lines begin with a blank, which models forget."""
    plain = ["" if not line.strip() else line if line[0] in "-+" else " " + line.removeprefix(" ") for line in hunk]
    while plain and not plain[-1]:
        plain.pop()
    while plain and not plain[0]:
        plain.pop(0)
    old = [line[1:] for line in plain if line[:1] != "+"]
    new = [line[1:] for line in plain if line[:1] != "-"]
    return SearchReplace("\n".join(old), "\n".join(new))
