"""Read the variables that a person sets. Each is read, expanded and checked here and nowhere else.

A value may stand in blanks or quotes, and an empty one counts as absent. A value that makes no sense raises UsageError
in one sentence that begins with the variable. addresses.py reads the variables of proxies and servers through `value`.
The harness's own AUTORESEARCH_* variables, which the loop sets for its children, are read in prepare.py.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoresearch.errors import UsageError

QUOTES = "\"'“”‘’"
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
DEFAULT_CACHE = "~/.cache/autoresearch-metal"
HUB = "https://huggingface.co"


def value(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return a variable without the blanks and quotes around it; None where it is absent or empty.

    >>> value("OLLAMA_HOST", {"OLLAMA_HOST": ' "localhost" '})
    'localhost'
    """
    text = (os.environ if environ is None else environ).get(name, "").strip()
    if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES:
        text = text[1:-1].strip()
    return text or None


def flag(name: str) -> bool:
    """Return whether a variable says yes. Raises UsageError where it says neither yes nor no."""
    return choice(name) or False


def choice(name: str) -> bool | None:
    """Return whether a variable says yes, or None where it is absent. Raises UsageError as `flag` does."""
    text = value(name)
    if text is not None and text.lower() not in (*YES, *NO):
        raise UsageError(f"{name}={text}: 1 or 0")
    return None if text is None else text.lower() in YES


def whole(name: str, least: int, most: int, meaning: str) -> int | None:
    """Return a whole number from `least` to `most`, or None. Raises UsageError for anything else."""
    text = value(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise UsageError(f"{name}={text}: {meaning}, {least} to {most}")
    return int(text)


def path(text: str) -> Path:
    """Return a path as it is meant: `~` and $VARIABLES replaced, and absolute.

    Raises UsageError where a variable or a user in it does not exist. A file of that very name is taken as it is.
    """
    if not text.strip() or "\0" in text:
        raise UsageError(f"{text!r} is not a path")
    if os.path.lexists(text):
        return Path(text).absolute()
    expanded = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111 - pathlib raises for an unknown user
    if missing := re.search(r"\$(\w+|\{\w+\})", expanded):
        raise UsageError(f"{text}: the variable {missing[1].strip('{}')} is not set")
    if expanded.startswith("~") and "/" in expanded:
        raise UsageError(f"{text}: there is no home folder {expanded.partition('/')[0]}")
    return Path(expanded).absolute()


def cache_folder() -> Path:
    """Return the folder that AUTORESEARCH_CACHE names, else DEFAULT_CACHE. Raises UsageError where it is a file."""
    given = value("AUTORESEARCH_CACHE")
    try:
        folder = path(given or DEFAULT_CACHE)
    except UsageError as error:
        raise UsageError(f"AUTORESEARCH_CACHE: {error}. Set it to a folder's absolute path") from None
    try:
        above = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise UsageError(f"AUTORESEARCH_CACHE={given}: {error.filename}: {error.strerror}") from None
    if not above.is_dir():
        raise UsageError(f"AUTORESEARCH_CACHE={given}: {above} is not a folder")
    return folder


def by_hand() -> tuple[str | None, str | None, float | None, int, bool]:
    """Return data set, profile, seconds of training, seed and "no sandbox" of a run by hand. Raises UsageError."""
    budget = value("AUTORESEARCH_TIME_BUDGET_S")
    try:
        seconds = None if budget is None else float(budget)
    except ValueError:
        raise UsageError(f"AUTORESEARCH_TIME_BUDGET_S={budget}: seconds of training, e.g. 300") from None
    seed = whole("AUTORESEARCH_SEED", 0, 2**32 - 1, "a seed")
    return (
        value("AUTORESEARCH_DATASET"),
        value("AUTORESEARCH_PROFILE"),
        seconds,
        42 if seed is None else seed,
        flag("AUTORESEARCH_NO_SANDBOX"),
    )


def cores() -> int | None:
    """Return AUTORESEARCH_CORES, or None where it is not set. Raises UsageError."""
    return whole("AUTORESEARCH_CORES", 1, 1024, "a number of cores")


def compiles() -> bool:
    """Return whether AUTORESEARCH_COMPILE asks for compiled steps on a CPU. Raises UsageError."""
    return flag("AUTORESEARCH_COMPILE")


def keeps_model() -> bool | None:
    """Return whether AUTORESEARCH_KEEP_MODEL keeps the language model loaded, or None where it is not set."""
    return choice("AUTORESEARCH_KEEP_MODEL")


def hub_offline() -> str | None:
    """Return the variable that forbids to ask the Hugging Face hub, or None. The hub's client reads them alike."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return next((name for name in names if (value(name) or "").lower() in YES), None)


def hub_endpoint() -> str:
    """Return the address of the hub: HF_ENDPOINT, which may lack its https://, or huggingface.co."""
    given = (value("HF_ENDPOINT") or HUB).rstrip("/")
    return given if "://" in given else f"https://{given}"


def findings_repository() -> str | None:
    """Return AUTORESEARCH_FINDINGS, the dataset repository of the hub that findings are shared with, or None."""
    return value("AUTORESEARCH_FINDINGS")


def hub_token_source() -> str | None:
    """Return where the hub's client finds a token, for a person, or None where there is none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if value(name):
            return name
    from huggingface_hub import get_token

    return "the token that `hf auth login` has stored" if get_token() else None


def openai_key(file: Path | None = None) -> str | None:
    """Return the key for an OpenAI-compatible server: the content of `file`, else OPENAI_API_KEY, else None.

    Raises UsageError where the file cannot be read or the key cannot be sent.
    """
    name, key = "OPENAI_API_KEY", value("OPENAI_API_KEY")
    if file is not None:
        name = f"--api-key-file {file}"
        try:
            key = file.read_text("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name} cannot be read: {error}") from None
        if not key:
            raise UsageError(f"{name} is empty")
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        raise UsageError(f"{name}: a key is one word of ASCII letters, digits and signs")
    return key


@contextlib.contextmanager
def replaced(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set or, with None, remove variables of this process inside the block, for a library that reads them itself."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(changes: Mapping[str, str | None]) -> None:
    for name, text in changes.items():
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text
