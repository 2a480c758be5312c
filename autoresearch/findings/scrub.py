"""Remove paths and the names of the user and the computer from texts before they leave the machine."""

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
from autoresearch.candidate.pack import is_packed, pack, unpack
from autoresearch.errors import BundleError, CommandError
from autoresearch.formats import CONTROL, shortened
from autoresearch.system import process

PART = r"[^\s/'\"`,;:()\[\]{}<>|]"  # a character of a file's name
HOMES = re.compile(rf"(?:/private)?/(?:Users|home)/{PART}+")
IN_HOMES = re.compile(rf"{HOMES.pattern}/(?:{PART}+/)*({PART}*)")
PATHS = re.compile(rf"(?<![\w.:/~])(?:~/|/{PART}+/)(?:{PART}+/)*({PART}*)")
QUOTED = re.compile(r"(['\"`])~?/[^'\"`\n]*/([^'\"`\n]*)\1")  # as errors quote a path: it may hold blanks
MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b")
PLACEHOLDER = "[private]"
SHORTEST = 3  # characters of a name: shorter ones occur in ordinary words
# Login and host names that many users share identify nobody, and they occur in ordinary sentences.
COMMON = frozenset({"root", "admin", "user", "users", "home", "runner", "ubuntu", "localhost", "local", "mac", "test"})


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Filter that removes private matter from texts. `names` are whole words or phrases, in the given case."""

    names: frozenset[str] = frozenset()

    def line(self, text: str, most: int) -> str:
        """Return the text as one line of at most `most` characters.

        Scrubber().line("no /tmp/x/data.bin\\n here", 80) -> "no .../data.bin here"
        """
        return shortened(" ".join(self._scrubbed(text).split()), most)

    def prose(self, text: str, most: int) -> str:
        """Return the text, with its line breaks, in at most `most` characters."""
        return shortened(self._scrubbed(text).strip(), most)

    def source(self, source: str, n: int, ran: bool) -> str:
        """Return the source of experiment `n` without private matter in its comments.

        Raises BundleError where its code would change, if the experiment `ran`: its figures would no longer be those
        of the shared program.
        """
        files = unpack(source) if is_packed(source) else {}
        clean = pack({path: self._code(text, path) for path, text in files.items()}) if files else self._code(source)
        if ran and clean != source and constants.normalised(clean) != constants.normalised(source):
            pairs = zip(source.splitlines(), clean.splitlines(), strict=False)
            line = next(i for i, (old, new) in enumerate(pairs, 1) if old != new)
            raise BundleError(
                f"experiment {n} cannot be shared: line {line} of its source holds a private name or path, or a "
                "character that cannot be printed, in its code"
            )
        return clean

    def _code(self, text: str, path: str = "train_mlx.py") -> str:
        """Return the text of a file; in a page or a style sheet, `/img/a.png` is no path of this machine."""
        text = self._unnamed(text.replace("\r\n", "\n"))
        text = self._without_paths(text) if path.endswith(".py") else HOMES.sub("~", IN_HOMES.sub(r".../\1", text))
        return CONTROL.sub(" ", text)

    def _scrubbed(self, text: str) -> str:
        return CONTROL.sub(" ", MAIL.sub(PLACEHOLDER, self._without_paths(self._unnamed(text))))

    def _without_paths(self, text: str) -> str:
        """Cut each path down to its last part: "no '/tmp/my data/x.bin'" -> "no '.../x.bin'"."""
        for pattern, instead in ((QUOTED, r"\1.../\2\1"), (IN_HOMES, r".../\1"), (HOMES, "~"), (PATHS, r".../\1")):
            text = pattern.sub(instead, text)
        return text

    def _unnamed(self, text: str) -> str:
        for name in sorted(self.names, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", PLACEHOLDER, text)
        return text


def scrubber(root: Path, vocabulary: str, private: Iterable[str] = ()) -> Scrubber:
    """Return the scrubber for this user and machine, and for the texts in `private`.

    `vocabulary` is the source of the baseline: a name that is also one of its words ("adam") is no secret.
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
