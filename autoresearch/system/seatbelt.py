"""The profile of macOS's Seatbelt for one child, as text. A pure function of paths.

Deny by default breaks MLX, which needs the GPU's device and Metal's compiler service; so everything is allowed but the
network, writing, and having another process act for the child.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from autoresearch.errors import SandboxError

# Job creation, Apple events and Launch Services would have a process outside act for the candidate; a forked one could
# outlive the run, since macOS has no process namespaces.
HEAD = """\
(version 1)
(allow default)
(deny network*)
(deny appleevent-send)
(deny lsopen)
(deny job-creation)
(deny process-fork)
(deny signal)
(allow signal (target same-sandbox))
(deny file-write*)
(allow file-write* (literal "/dev/null"))
"""

# Metal's compiler keeps a cache for each program in the Darwin user cache folder: C/python3.11/com.apple.metal/... .
# Only that may be written there, so that no weights persist from run to run.
METAL_CACHE = r"""
(allow file-write-create
  (require-all (vnode-type DIRECTORY) (regex #"^/private/var/folders/[^/]+/[^/]+/C/[^/]+$")))
(allow file-write* (regex #"^/private/var/folders/[^/]+/[^/]+/C/([^/]+/)?com\.apple\.(metal|metalfe|gpuarchiver)(/|$)"))
"""


def seatbelt_profile(write: Sequence[Path], hide: Sequence[Path], read: Sequence[Path] = ()) -> str:
    """The last rule that matches decides, so that rules go from the outermost folder inward.

    Hidden files keep their metadata: a program must be able to resolve a path that leads through a hidden folder.

    seatbelt_profile([Path("/night/7")], hide=[Path("/night")]) ends in
    (deny file-read-data file-read-xattr file-write* (subpath "/night"))
    (allow file-read* file-write* (subpath "/night/7"))
    """
    rules: dict[str, tuple[str, ...]] = {_real(p): ("allow file-read*", "deny file-write*") for p in read}
    rules |= {_real(p): ("deny file-read-data file-read-xattr file-write*",) for p in hide}
    rules |= {_real(p): ("allow file-read* file-write*",) for p in write}
    ordered = sorted(rules, key=lambda path: path.count("/") if path != "/" else 0)
    lines = (f"({rule} (subpath {quoted(path)}))\n" for path in ordered for rule in rules[path])
    return HEAD + METAL_CACHE + "".join(lines)


def quoted(path: str) -> str:
    r"""A string of the profile language: /a "b"\c -> "/a \"b\"\\c". Raises SandboxError for control characters."""
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise SandboxError(f"{path!r} holds a control character and cannot be confined: rename the folder")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _real(path: Path) -> str:
    """Seatbelt sees resolved paths: /tmp is /private/tmp."""
    return os.path.realpath(path)
