"""Install a login item that resumes a night after a reboot: a LaunchAgent on macOS, a systemd user unit on Linux.

Each checkout has its own. It starts when the person logs in; with FileVault an unattended reboot waits at the unlock
screen (`doctor` says so). Installing writes a file and starts nothing; uninstalling removes it and stops nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import plistlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.environment import path as as_meant
from autoresearch.environment import value
from autoresearch.errors import UsageError
from autoresearch.files import write_atomic
from autoresearch.paths import resume_log
from autoresearch.system.invocation import command

SYSTEM_PATH = ("/usr/local/bin", "/opt/homebrew/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
INHERITED = (  # settings of a night that the login item passes on; no secrets, since its file is plain text
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
STOP_S = 120  # the time that the loop has at logout to end its child and record the end


@dataclass(frozen=True, slots=True)
class LoginItem:
    """File that makes the system run the loop at login, with its content and the log for the loop's output."""

    path: Path
    text: bytes
    log: Path


def login_item(
    root: Path,
    argv: Sequence[str],
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    system: str | None = None,
) -> LoginItem:
    """Return the login item that runs `argv` in the checkout `root`. Raises UsageError on any other system."""
    root, home, env = root.resolve(), home or Path.home(), os.environ if env is None else env
    label, log = label_of(root), resume_log(root)
    match system or platform.system():
        case "Darwin":
            return LoginItem(home / "Library" / "LaunchAgents" / f"{label}.plist", plist(root, argv, env), log)
        case "Linux":
            return LoginItem(home / ".config" / "systemd" / "user" / f"{label}.service", unit(root, argv, env), log)
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
    """Write the login item, in place of an earlier one, and return the lines to tell the person."""
    new = login_item(root, argv, home=home, env=env, system=system)
    new.log.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(new.path, new.text)
    for link in _links(new.path):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(new.path)
    return [
        f"after the next login this runs: {' '.join(argv)}",
        f"its output goes to {new.log}",
        f"written: {new.path}. To remove it: {command('loop.py uninstall')}",
    ]


def uninstall(root: Path, *, home: Path | None = None, system: str | None = None) -> list[str]:
    """Remove the login item if there is one, and return the lines to tell the person."""
    path = login_item(root, (), home=home, system=system).path
    there = path.exists()
    for file in (*_links(path), path):
        file.unlink(missing_ok=True)
    return [f"removed: {path}" if there else f"nothing was installed for {root.resolve()}"]


def installed(root: Path, *, home: Path | None = None, system: str | None = None) -> Path | None:
    """Return the file of this checkout's login item; None where there is none."""
    path = login_item(root, (), home=home, system=system).path
    return path if path.exists() else None


def label_of(root: Path) -> str:
    """Return a name that differs between checkouts, e.g. "org.autoresearch-metal.night.1f2e3d4c"."""
    return f"org.autoresearch-metal.night.{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}"


def plist(root: Path, argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    """Write the LaunchAgent's property list; see launchd.plist(5)."""
    log = str(resume_log(root))
    return plistlib.dumps(
        {
            "Label": label_of(root),
            "ProgramArguments": list(argv),
            "WorkingDirectory": str(root),
            "EnvironmentVariables": environment(argv, env),
            "RunAtLoad": True,
            "KeepAlive": False,  # the loop decides when a night is over
            "ProcessType": "Interactive",  # launchd throttles other types, which would slow the training down
            "ExitTimeOut": STOP_S,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def unit(root: Path, argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    """Write the systemd user unit; see systemd.service(5)."""
    settings = "".join(f"Environment={_quoted(f'{k}={v}')}\n" for k, v in environment(argv, env).items())
    log = str(resume_log(root)).replace("%", "%%")
    return (
        "[Unit]\n"
        "Description=autoresearch-metal: resume an interrupted night\n\n"
        "[Service]\n"
        f"WorkingDirectory={str(root).replace('%', '%%')}\n"
        f"{settings}"
        f"ExecStart={' '.join(_quoted(a, command=True) for a in argv)}\n"
        "KillSignal=SIGINT\n"  # the signal of Ctrl-C, on which the loop ends cleanly
        "KillMode=mixed\n"  # only to the loop, which ends its children itself
        f"TimeoutStopSec={STOP_S}\n"
        f"StandardOutput=append:{log}\n"
        f"StandardError=append:{log}\n\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    ).encode()


def environment(argv: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the loop, from the one that `install` runs in; a login starts with nearly none."""
    folders = [p for p in env.get("PATH", "").split(os.pathsep) if Path(p).is_absolute()]
    given = [p for p in folders if os.path.isdir(p)]  # noqa: PTH112 - pathlib raises for one that may not be entered
    own = [str(Path(argv[0]).parent)] if argv and Path(argv[0]).is_absolute() else []
    path = os.pathsep.join(dict.fromkeys([*own, *given, *SYSTEM_PATH]))
    settings = {name: text for name in INHERITED if (text := value(name, env)) is not None}
    if "AUTORESEARCH_CACHE" in settings:  # a login starts elsewhere
        settings["AUTORESEARCH_CACHE"] = str(as_meant(settings["AUTORESEARCH_CACHE"]))
    return {"PATH": path, "PYTHONUNBUFFERED": "1", **settings}


def _links(path: Path) -> tuple[Path, ...]:
    """Return the link that `systemctl --user enable` would create; launchd needs none."""
    return (path.parent / "default.target.wants" / path.name,) if path.suffix == ".service" else ()


def _quoted(text: str, command: bool = False) -> str:
    """Quote one word of a systemd setting: escape its specifiers, and in a command line its variables too."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{text.replace("$", "$$") if command else text}"'
