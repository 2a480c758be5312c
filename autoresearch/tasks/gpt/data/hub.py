"""Download files of Hugging Face datasets into the hub's own cache, one at a time, with retries.

The hub's environment variables (HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE) keep their meaning.
"""

from __future__ import annotations

import errno
import os
import time
from http import HTTPStatus
from pathlib import Path

from autoresearch.errors import DataError
from autoresearch.invocation import command
from autoresearch.records import Say

PROBE = ("karpathy/climbmix-400b-shuffle", "shard_06542.parquet")  # the file that hub_reachable asks for
REDIRECTS = 5  # followed from a mirror to the hub
PROBE_WAITS_S = (0.5, 2.0)  # between attempts to reach the hub at all
RETRY_WAITS_S = (1.0, 4.0, 16.0)  # between attempts at one file; within one the client resumes a broken transfer itself
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
PERMANENT = (400, 401, 403, 404, 410)  # HTTP statuses that another attempt will not change


def hub_reachable(timeout_s: float = 5.0) -> bool:
    """Return whether the hub (HF_ENDPOINT) serves datasets; False under HF_HUB_OFFLINE or behind a captive portal."""
    import httpx

    if _is_true("HF_HUB_OFFLINE") or _is_true("TRANSFORMERS_OFFLINE"):
        return False
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    url = "{}/datasets/{}/resolve/main/{}".format(endpoint, *PROBE)
    try:
        with httpx.Client(timeout=timeout_s) as client:
            response = client.head(url)
            for _ in range(REDIRECTS):
                if "x-repo-commit" in response.headers or response.next_request is None:
                    break
                response = client.send(response.next_request)
            return response.status_code < 400 and "x-repo-commit" in response.headers
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def download(repo: str, filenames: list[str], report: Say, offline: bool = False) -> list[Path]:
    """Download files of a dataset repository and return their local paths, in order.

    Files that the hub's cache holds are not transferred again. Raises DataError where a file is neither there nor can
    be downloaded.
    """
    offline = offline or not _wait_for_hub()
    paths = []
    for filename in filenames:
        try:
            paths.append(_download(repo, filename, report, offline))
        except _client_errors() as error:
            raise DataError(_explain(repo, filename, len(paths), len(filenames), offline, error)) from error
    return paths


def _wait_for_hub() -> bool:
    for wait_s in PROBE_WAITS_S:
        if hub_reachable():
            return True
        if _is_true("HF_HUB_OFFLINE") or _is_true("TRANSFORMERS_OFFLINE"):
            return False
        time.sleep(wait_s)
    return hub_reachable()


def _download(repo: str, filename: str, report: Say, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download

    for wait_s in RETRY_WAITS_S:
        try:
            return Path(hf_hub_download(repo, filename, repo_type="dataset", local_files_only=offline))
        except _client_errors() as error:
            if not _transient(error):
                raise
            report(f"{filename}: {_cause(error)}; trying again in {wait_s:.0f} s")
            time.sleep(wait_s)
    return Path(hf_hub_download(repo, filename, repo_type="dataset", local_files_only=offline))


def _client_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a download. The hub's client derives its errors from httpx or httpx2, by its version."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    return (OSError, EntryNotFoundError, HfHubHTTPError.__bases__[0])


def _transient(error: Exception) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError

    known = isinstance(error, LocalEntryNotFoundError)  # the client has tried several times, or the cache lacks it
    return not known and _status(error) not in PERMANENT and not _is_disk_error(error)


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _explain(repo: str, filename: str, have: int, wanted: int, offline: bool, error: Exception) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    cause = "the hub does not answer, or HF_HUB_OFFLINE is set" if offline else _cause(error)
    return (
        f"{have} of {wanted} files of {repo} are in {HF_HUB_CACHE}, but not {filename}: {cause}. The same command"
        f" continues from here; without a network, run: {command('prepare.py --dataset stdlib')}"
    )


def _is_disk_error(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def _cause(error: Exception) -> str:
    """Explain an error in one line: the hub's status, or the first line of the message."""
    status = _status(error)
    if status is not None:
        return f"the hub answered {status} {HTTPStatus(status).phrase if status in list(HTTPStatus) else ''}".rstrip()
    return str(error).strip().partition("\n")[0].rstrip(".") or error.__class__.__name__


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")
