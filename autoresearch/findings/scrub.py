"""What must not leave the machine: paths, names of the person and of the computer; found and taken out of texts."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import pwd
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autoresearch.candidate import constants
from autoresearch.errors import BundleError, CommandError
from autoresearch.formats import CONTROL
from autoresearch.system import process

PART = r"[^\s/'\"`,;:()\[\]{}<>|]"  # a character of a file's name
HOMES = re.compile(rf"(?:/private)?/(?:Users|home)/{PART}+")
IN_HOMES = re.compile(rf"{HOMES.pattern}/(?:{PART}+/)*({PART}*)")
PATHS = re.compile(rf"(?<![\w.:/~])(?:~/|/{PART}+/)(?:{PART}+/)*({PART}*)")
QUOTED = re.compile(r"(['\"`])~?/[^'\"`\n]*/([^'\"`\n]*)\1")  # as errors quote a path: it may hold blanks
MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b")
PRIVATE = "[private]"
SHORTEST = 3  # letters of a name: shorter ones are found everywhere
# Login and host names that many share say nothing, and would be found in honest sentences.
COMMON = frozenset({"root", "admin", "user", "users", "home", "runner", "ubuntu", "localhost", "local", "mac", "test"})


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes private matter out of texts. `names` are whole words or phrases, case counts."""

    names: frozenset[str] = frozenset()

    def line(self, text: str, most: int) -> str:
        """One line, cut to `most` characters: "no /tmp/x/data.bin\\n here" -> "no .../data.bin here"."""
        return _cut(" ".join(self._scrubbed(text).split()), most)

    def prose(self, text: str, most: int) -> str:
        return _cut(self._scrubbed(text).strip(), most)

    def source(self, source: str, n: int, ran: bool) -> str:
        """The source of experiment n without private matter in its comments.

        Raises BundleError where code would change and the experiment `ran`: its figures would be of another program.
        """
        clean = CONTROL.sub(" ", self._without_paths(self._unnamed(source.replace("\r\n", "\n"))))
        if ran and clean != source and constants.normalised(clean) != constants.normalised(source):
            pairs = zip(source.splitlines(), clean.splitlines(), strict=False)
            line = next(i for i, (old, new) in enumerate(pairs, 1) if old != new)
            raise BundleError(
                f"experiment {n} cannot be shared: line {line} of its source holds a private name or path, or a "
                "character that cannot be printed, in its code"
            )
        return clean

    def _scrubbed(self, text: str) -> str:
        return CONTROL.sub(" ", MAIL.sub(PRIVATE, self._without_paths(self._unnamed(text))))

    def _without_paths(self, text: str) -> str:
        """Of a path its last part stays: "no '/tmp/my data/x.bin'" -> "no '.../x.bin'"."""
        for pattern, instead in ((QUOTED, r"\1.../\2\1"), (IN_HOMES, r".../\1"), (HOMES, "~"), (PATHS, r".../\1")):
            text = pattern.sub(instead, text)
        return text

    def _unnamed(self, text: str) -> str:
        for name in sorted(self.names, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", PRIVATE, text)
        return text


def scrubber(root: Path, vocabulary: str, private: Iterable[str] = ()) -> Scrubber:
    """For this person and machine, and what is `private` besides.

    A name that is also a word of `vocabulary` (the baseline: "adam") is no secret.
    """
    known = {word.lower() for word in re.findall(r"[^\W\d_]+", vocabulary)} | COMMON
    names = [*_names(root), *private]
    found = [name for name in names if len(name) >= SHORTEST and name.lower() not in known]
    return Scrubber(frozenset({*found, str(Path.home()), str(root)} - {"/"}))


def _names(root: Path) -> Iterable[str]:
    host = platform.node()
    yield from (host, host.partition(".")[0])
    with contextlib.suppress(KeyError, OSError):  # no login name, e.g. in a container
        yield getpass.getuser()
        full = pwd.getpwuid(os.getuid()).pw_gecos.partition(",")[0].strip()
        yield from (full, *full.split())
    for key in ("user.name", "user.email"):
        try:
            value = process.run(["git", "config", key], cwd=root, check=False).stdout.strip()
        except CommandError:
            continue
        yield value
        if key == "user.name":
            yield from value.split()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
