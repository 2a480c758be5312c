"""Check a version's files before it runs: the same paths, valid text, a limited length, no syntax errors. No I/O."""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Mapping
from pathlib import PurePosixPath

GROWTH, LEAST_CHARS = 3, 20_000  # a version may have GROWTH times the baseline's length, and LEAST_CHARS in any case


def violations(files: Mapping[str, str], base: Mapping[str, str]) -> list[str]:
    """Return what a version breaks, one sentence each; `base` are the baseline's files."""
    found = [f"{path} is missing: a version has the files {', '.join(base)}" for path in base if path not in files]
    found += [f"{path} is not a file of this task, which has {', '.join(base)}" for path in files if path not in base]
    size, most = sum(map(len, files.values())), max(LEAST_CHARS, GROWTH * sum(map(len, base.values())))
    if size > most:
        found.append(f"the files have {size:,} characters and may have {most:,}: shorten them by {size - most:,}")
    for path, text in files.items():
        if "\0" in text:
            found.append(f"{path} holds a NUL character and is not text")
        elif (why := _unparsable(path, text)) is not None and _unparsable(path, base.get(path, "")) is None:
            found.append(f"{path} {why}")
    return found


def _unparsable(path: str, text: str) -> str | None:
    """Return why a file cannot be parsed; None where it can, or where no parser knows it."""
    try:
        match PurePosixPath(path).suffix:
            case ".toml":
                tomllib.loads(text)
            case ".json":
                json.loads(text)
            case ".py":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    compile(text, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"is not valid Python: {error.msg} (line {error.lineno})"
    except ValueError as error:  # of both parsers
        return f"cannot be parsed: {error}"
    except (RecursionError, MemoryError):
        return "is nested too deeply"
    return None
