"""List what no candidate may read: keys and tokens of the person's tools, browsers, mail, shell histories. Reads only.

Tools keep them in hidden folders of the home folder, and new tools come every month. Linux therefore hides all
home folders, macOS every hidden entry of the person's and the known places in ~/Library, where Metal needs the rest.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# Below ~/Library on macOS.
LIBRARY = (
    *("Keychains", "Cookies", "Messages", "Mail", "Safari", "Calendars", "Reminders", "Notes", "Mobile Documents"),
    *("CloudStorage", "Group Containers", "Containers", "HTTPStorages", "WebKit", "Accounts", "IdentityServices"),
    *("Application Scripts", "Suggestions", "Autosave Information", "Saved Application State"),
)
# Below ~/Library/Application Support: browsers, password managers, and tools that keep tokens.
SUPPORT = (
    *("Google", "Chromium", "Firefox", "BraveSoftware", "Microsoft Edge", "Arc", "Vivaldi", "com.operasoftware.Opera"),
    *("Thunderbird", "1Password", "Bitwarden", "KeePassXC", "AddressBook", "CallHistoryDB", "com.apple.TCC"),
    *("Knowledge", "Claude", "Codex", "com.openai.chat", "OpenAI", "io.datasette.llm", "Cursor", "Windsurf", "Code"),
    *(
        "Zed",
        "JetBrains",
        "Slack",
        "Signal",
        "Telegram Desktop",
        "discord",
        "Docker",
        "GitHub Desktop",
        "gcloud",
        "Ollama",
        "LM Studio",
    ),
)
# Variables that name a file or folder of keys somewhere else.
VARIABLES = (
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG", "KUBECONFIG"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "DOCKER_CONFIG", "NETRC", "GNUPGHOME", "GH_CONFIG_DIR", "GIT_ASKPASS"),
    *("HF_TOKEN_PATH", "NPM_CONFIG_USERCONFIG", "PIP_CONFIG_FILE", "PGPASSFILE", "CODEX_HOME", "CLAUDE_CONFIG_DIR"),
    *("XAUTHORITY", "SSH_AUTH_SOCK", "VAULT_TOKEN_FILE", "RCLONE_CONFIG", "TF_CLI_CONFIG_FILE", "PASSWORD_STORE_DIR"),
)
# Outside of any home folder; only root can read most of them.
SYSTEM = (
    *("/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private", "/etc/kubernetes", "/var/lib/docker", "/var/mail"),
)


def secrets(
    needed: Collection[Path] = (),
    home: Path | None = None,
    environ: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> list[Path]:
    """Return the files and folders that exist here and that no candidate may read.

    What is `needed` itself, such as a virtual environment ~/.venv, is none of them.
    """
    home, environ = home or Path.home(), os.environ if environ is None else environ
    found = [*_at_home(home, platform), *map(Path, SYSTEM), *_of_checkout(CHECKOUT), *_of_checkout(Path.cwd())]
    found += [Path(p) for name in VARIABLES for p in environ.get(name, "").split(os.pathsep) if Path(p).is_absolute()]
    shown = {os.path.realpath(p) for p in needed}
    return sorted({p for p in found if _exists(p) and not _holds_the_system(p) and os.path.realpath(p) not in shown})


def _at_home(home: Path, platform: str) -> Iterator[Path]:
    if platform != "darwin":
        yield from (home, Path("/root"))
        # Homebrew has a folder there too, and its Python needs libraries from it.
        yield from (p for p in Path("/home").glob("*") if p.name != "linuxbrew")
        return
    yield from home.glob(".*")
    yield from (home / "Library" / name for name in LIBRARY)
    yield from (home / "Library" / "Application Support" / name for name in SUPPORT)


def _of_checkout(folder: Path) -> Iterator[Path]:
    """Yield a checkout's settings with tokens, and its repository, whose addresses may hold a password."""
    yield from (p for p in folder.glob(".env*") if p.is_file())
    yield folder / ".git"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that we cannot enter, and no child can
        return False


def _holds_the_system(path: Path) -> bool:
    """Return whether a path, such as a home folder "/", holds what every program needs."""
    return Path("/usr").is_relative_to(os.path.realpath(path))
