"""Write the profile with which macOS's Seatbelt confines one child. No I/O.

To deny by default would break MLX, which needs the GPU's device and Metal's compiler service. The profile therefore
allows everything except the network, writing, and letting another process act for the child.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from autoresearch.errors import SandboxError

# The network's rules hold for Unix sockets too. By job creation, Apple events or Launch Services a process outside
# could act for the candidate; the keychain and the pasteboard are asked through Mach services. A forked process could
# outlive the run, since macOS has no process namespaces. What is typed in a terminal could be read there. A script may
# write to /dev/stderr, which is a descriptor that it has inherited.
HEAD = """\
(version 1)
(allow default)
(deny network*)
(deny appleevent-send)
(deny lsopen)
(deny job-creation)
(deny sysctl-write)
(deny mach-lookup
  (global-name "com.apple.SecurityServer") (global-name "com.apple.securityd.xpc")
  (global-name "com.apple.pasteboard.1"))
(deny process-fork)
(deny signal)
(allow signal (target same-sandbox))
(deny file-read-data (regex #"^/dev/tty"))
(deny file-write*)
(allow file-write* (literal "/dev/null"))
(allow file-write-data
  (literal "/dev/zero") (literal "/dev/stdout") (literal "/dev/stderr") (regex #"^/dev/fd/[0-9]+$"))
"""

# Metal's compiler keeps a cache per program in the Darwin user cache folder: C/python3.11/com.apple.metal/... . Nothing
# else can be written there, so that no weights persist from run to run.
METAL_CACHE = r"""
(allow file-write-create
  (require-all (vnode-type DIRECTORY) (regex #"^/private/var/folders/[^/]+/[^/]+/C/[^/]+$")))
(allow file-write* (regex #"^/private/var/folders/[^/]+/[^/]+/C/([^/]+/)?com\.apple\.(metal|metalfe|gpuarchiver)(/|$)"))
"""


LOCAL = """\
(allow network-bind network-inbound (local ip "localhost:*"))
(allow network-outbound (remote ip "localhost:*"))
"""


def seatbelt_profile(
    write: Sequence[Path],
    hide: Sequence[Path],
    read: Sequence[Path] = (),
    *,
    network: str = "none",
    forks: bool = False,
) -> str:
    """Return the profile for a child that may write `write`, cannot read `hide`, and may read `read`.

    The last rule that matches decides, so the rules go from the outermost folder inward. The metadata of hidden files
    stays readable, since a program has to resolve paths that lead through a hidden folder.

    seatbelt_profile([Path("/night/7")], hide=[Path("/night")]) ends in
    (deny file-read-data file-read-xattr file-write* (subpath "/night"))
    (allow file-read* file-write* (subpath "/night/7"))

    `network` is "open", or "local" for this machine's own addresses; with `forks` the child may start processes.
    """
    rules: dict[str, tuple[str, ...]] = {_real(p): ("allow file-read*", "deny file-write*") for p in read}
    rules |= {_real(p): ("deny file-read-data file-read-xattr file-write*",) for p in hide}
    rules |= {_real(p): ("allow file-read* file-write*",) for p in write}
    ordered = sorted(rules, key=lambda path: path.count("/") if path != "/" else 0)
    lines = (f"({rule} (subpath {quoted(path)}))\n" for path in ordered for rule in rules[path])
    opened = {"none": "", "local": LOCAL, "open": "(allow network*)\n"}[network]
    opened += "(allow process-fork)\n" if forks else ""
    return HEAD + opened + METAL_CACHE + "".join(lines)


def quoted(path: str) -> str:
    r"""Quote a string of the profile language: /a "b"\c -> "/a \"b\"\\c".

    Raises SandboxError for control characters.
    """
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise SandboxError(f"{path!r} holds a control character and cannot be confined: rename the folder")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _real(path: Path) -> str:
    """Resolve a path as Seatbelt sees it: /tmp is /private/tmp."""
    return os.path.realpath(path)
