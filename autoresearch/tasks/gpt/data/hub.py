"""Download files of Hugging Face datasets into the hub's own cache, one at a time, with retries.

The hub's environment variables (HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE) keep their meaning.
"""

from __future__ import annotations

import errno
import time
from http import HTTPStatus
from pathlib import Path

from autoresearch import environment
from autoresearch.errors import DataError, UsageError
from autoresearch.records import Say
from autoresearch.system import addresses
from autoresearch.system.invocation import command

PROBE = ("karpathy/climbmix-400b-shuffle", "shard_06542.parquet")  # the file that hub_reachable asks for
REDIRECTS = 5  # followed from a mirror to the hub
PROBE_WAITS_S = (0.5, 2.0)  # between attempts to reach the hub at all
RETRY_WAITS_S = (1.0, 4.0, 16.0)  # between attempts at one file; within one the client resumes a broken transfer itself
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
PERMANENT = (400, 401, 403, 404, 410)  # HTTP statuses that another attempt will not change


def hub_problem(timeout_s: float = 5.0) -> str | None:
    """Return why the hub (HF_ENDPOINT) serves no datasets now, for a person, or None where it does.

    A captive portal, which answers in the hub's place, counts as no answer.
    """
    import httpx

    if variable := environment.hub_offline():
        return f"{variable} is set"
    endpoint = environment.hub_endpoint()
    url = "{}/datasets/{}/resolve/main/{}".format(endpoint, *PROBE)
    try:
        with httpx.Client(timeout=timeout_s, **addresses.client_options(url)) as client:
            response = client.head(url)
            for _ in range(REDIRECTS):
                if "x-repo-commit" in response.headers or response.next_request is None:
                    break
                response = client.send(response.next_request)
            serves = response.status_code < 400 and "x-repo-commit" in response.headers
    except UsageError as error:
        return str(error)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        serves = False
    where = "" if endpoint == environment.HUB else f" (HF_ENDPOINT={endpoint})"
    return None if serves else f"the Hugging Face hub does not answer{where}"


def hub_reachable() -> bool:
    """Return whether the hub serves datasets now."""
    return hub_problem() is None


def download(repo: str, filenames: list[str], report: Say, offline: bool = False) -> list[Path]:
    """Download files of a dataset repository and return their local paths, in order.

    Files that the hub's cache holds are not transferred again. A token that the hub refuses is named, and left out from
    then on, since the data sets are public. Raises DataError where a file is neither there nor can be downloaded.
    """
    problem = "no network is wanted" if offline else _wait_for_hub()
    with environment.replaced({} if problem else addresses.proxy_environment(environment.hub_endpoint())):
        transfer = HubFiles(repo, report, problem is not None)
        paths: list[Path] = []
        for filename in filenames:
            try:
                paths.append(transfer.file(filename))
            except client_errors() as error:
                why = problem or cause(error)
                raise DataError(_explain(repo, filename, len(paths), len(filenames), why)) from error
    return paths


def _wait_for_hub() -> str | None:
    """Return None once the hub answers, or the problem that stays."""
    for wait_s in PROBE_WAITS_S:
        problem = hub_problem()
        if problem is None or "does not answer" not in problem:
            return problem
        time.sleep(wait_s)
    return hub_problem()


class HubFiles:
    """Files of one repository of the hub, fetched one by one. With `offline`, only the hub's cache is looked into."""

    def __init__(self, repo: str, report: Say, offline: bool) -> None:
        self.repo, self.report, self.offline = repo, report, offline
        self._token: bool | None = None  # the person's, where there is one; False: none

    def file(self, name: str) -> Path:
        """Return the local path of a file. Raises what `client_errors` lists."""
        for wait_s in RETRY_WAITS_S:
            try:
                return self._once(name)
            except client_errors() as error:
                if self._refused(error):
                    continue
                if not _transient(error):
                    raise
                self.report(f"{name}: {cause(error)}; trying again in {wait_s:.0f} s")
                time.sleep(wait_s)
        return self._once(name)

    def _once(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        endpoint = environment.hub_endpoint()
        return Path(
            hf_hub_download(
                self.repo,
                name,
                repo_type="dataset",
                endpoint=endpoint,
                token=self._token,
                local_files_only=self.offline,
            )
        )

    def _refused(self, error: Exception) -> bool:
        """Return whether another attempt without the person's token makes sense; from then on it is left out."""
        source = environment.hub_token_source() if self._token is None and not self.offline else None
        unsendable = isinstance(error, UnicodeError) or type(error).__name__ == "LocalProtocolError"
        if source is None or not (status(error) in (401, 403) or unsendable):
            return False
        why = "cannot be sent" if unsendable else f"is refused by the hub ({status(error)})"
        self.report(f"{source} {why}; the data is public, and is asked for without it")
        self._token = False
        return True


def client_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a download. The hub's client derives its errors from httpx or httpx2, by its version."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    return (OSError, UnicodeError, EntryNotFoundError, HfHubHTTPError.__bases__[0])


def _transient(error: Exception) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError

    known = isinstance(error, LocalEntryNotFoundError)  # the client has tried several times, or the cache lacks it
    return not known and status(error) not in PERMANENT and not _is_disk_error(error)


def status(error: Exception) -> int | None:
    """Return the hub's HTTP status, or None where it did not answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _explain(repo: str, filename: str, have: int, wanted: int, cause: str) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return (
        f"{have} of {wanted} files of {repo} are in {HF_HUB_CACHE}, but not {filename}: {cause}. The same command"
        f" continues from here; without a network, run: {command('prepare.py --dataset stdlib')}"
    )


def _is_disk_error(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def cause(error: Exception) -> str:
    """Explain an error in one line: the hub's status, or the first line of the message."""
    code = status(error)
    if code is not None:
        return f"the hub answered {code} {HTTPStatus(code).phrase if code in list(HTTPStatus) else ''}".rstrip()
    return str(error).strip().partition("\n")[0].rstrip(".") or error.__class__.__name__
