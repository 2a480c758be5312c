"""Resumes a night after a reboot: a LaunchAgent on macOS, a systemd user unit on Linux, one a checkout.

Both start at *login*: with FileVault a reboot without anybody waits at the unlock screen (`doctor` says so). Installing
writes one file and starts nothing, so a night that runs already goes on; uninstalling removes it and stops nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import plistlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import UsageError
from autoresearch.files import write_atomic

SYSTEM_PATH = ("/usr/local/bin", "/opt/homebrew/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
KEPT_ENVIRONMENT = (  # settings of a night; nothing secret, since the file is plain text
    "AUTORESEARCH_CACHE",
    "AUTORESEARCH_DATASET",
    "AUTORESEARCH_PROFILE",
    "AUTORESEARCH_SEED",
    "AUTORESEARCH_TIME_BUDGET_S",
    "AUTORESEARCH_NO_SANDBOX",
    "HF_HOME",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "OLLAMA_HOST",
    "LANG",
)
STOP_S = 120  # how long the loop may take to end cleanly at logout: it kills its child and records the end
LOG = "resume.log"


@dataclass(frozen=True, slots=True)
class Agent:
    """What starts the loop after login: the file that says so, its content, and where its output goes."""

    path: Path
    text: bytes
    log: Path


def agent(
    root: Path,
    argv: Sequence[str],
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    system: str | None = None,
) -> Agent:
    """The agent that runs the command `argv` in the checkout `root` after login. Raises UsageError elsewhere."""
    root, home, env = root.resolve(), home or Path.home(), os.environ if env is None else env
    label, log = label_of(root), root / "runs" / LOG
    match system or platform.system():
        case "Darwin":
            return Agent(home / "Library" / "LaunchAgents" / f"{label}.plist", plist(root, argv, env), log)
        case "Linux":
            return Agent(home / ".config" / "systemd" / "user" / f"{label}.service", unit(root, argv, env), log)
        case other:
            raise UsageError(f"`install` knows launchd (macOS) and systemd (Linux), not {other}")


def install(
    root: Path,
    argv: Sequence[str],
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    system: str | None = None,
) -> list[str]:
    """Writes the agent, anew where there is one already; what to tell the person, a line each."""
    new = agent(root, argv, home=home, env=env, system=system)
    new.log.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(new.path, new.text)
    for link in _links(new.path):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(new.path)
    return [
        f"after the next login this runs: {' '.join(argv)}",
        f"its output goes to {new.log}",
        f"written: {new.path}. To remove it: uv run loop.py uninstall",
    ]


def uninstall(root: Path, *, home: Path | None = None, system: str | None = None) -> list[str]:
    """Removes the agent where there is one; what to tell the person."""
    path = agent(root, (), home=home, system=system).path
    there = path.exists()
    for file in (*_links(path), path):
        file.unlink(missing_ok=True)
    return [f"removed: {path}" if there else f"nothing was installed for {root.resolve()}"]


def installed(root: Path, *, home: Path | None = None, system: str | None = None) -> Path | None:
    """The file of this checkout's agent, None where there is none."""
    path = agent(root, (), home=home, system=system).path
    return path if path.exists() else None


def label_of(root: Path) -> str:
    """A name of its own for every checkout, e.g. "org.autoresearch-metal.night.1f2e3d4c"."""
    return f"org.autoresearch-metal.night.{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}"


def plist(root: Path, argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    """The LaunchAgent's property list; launchd.plist(5)."""
    log = str(root / "runs" / LOG)
    return plistlib.dumps(
        {
            "Label": label_of(root),
            "ProgramArguments": list(argv),
            "WorkingDirectory": str(root),
            "EnvironmentVariables": environment(argv, env),
            "RunAtLoad": True,
            "KeepAlive": False,  # the loop itself decides when a night is over
            "ProcessType": "Interactive",  # launchd holds back what is not: the clock would measure launchd
            "ExitTimeOut": STOP_S,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def unit(root: Path, argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    """The systemd user unit; systemd.service(5)."""
    settings = "".join(f"Environment={_quoted(f'{k}={v}')}\n" for k, v in environment(argv, env).items())
    log = str(root / "runs" / LOG).replace("%", "%%")
    return (
        "[Unit]\n"
        "Description=autoresearch-metal: go on with an interrupted night\n\n"
        "[Service]\n"
        f"WorkingDirectory={str(root).replace('%', '%%')}\n"
        f"{settings}"
        f"ExecStart={' '.join(_quoted(a, command=True) for a in argv)}\n"
        "KillSignal=SIGINT\n"  # Ctrl-C's own: the loop ends cleanly
        "KillMode=mixed\n"  # the loop ends its children itself
        f"TimeoutStopSec={STOP_S}\n"
        f"StandardOutput=append:{log}\n"
        f"StandardError=append:{log}\n\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    ).encode()


def environment(argv: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """What the loop needs of the environment that it was installed from; a login starts with next to nothing."""
    given = [p for p in env.get("PATH", "").split(os.pathsep) if Path(p).is_absolute() and Path(p).is_dir()]
    own = [str(Path(argv[0]).parent)] if argv and Path(argv[0]).is_absolute() else []
    path = os.pathsep.join(dict.fromkeys([*own, *given, *SYSTEM_PATH]))
    return {"PATH": path, "PYTHONUNBUFFERED": "1", **{k: env[k] for k in KEPT_ENVIRONMENT if env.get(k)}}


def _links(path: Path) -> tuple[Path, ...]:
    """What `systemctl --user enable` would make; launchd reads the folder itself."""
    return (path.parent / "default.target.wants" / path.name,) if path.suffix == ".service" else ()


def _quoted(text: str, command: bool = False) -> str:
    """One word of a systemd setting: specifiers doubled, and in a command line the variables too."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{text.replace("$", "$$") if command else text}"'
