"""Fetch shared findings from the Hugging Face hub or a git repository, and open pull requests on the hub.

Findings are the *.json of the repository's top folder and of its folder findings/. Copies lie in the cache and serve
where the other side cannot be reached. Each file is checked as any file of findings, and nothing of it is run.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch import environment
from autoresearch.errors import BundleError, GitError, UsageError
from autoresearch.files import write_atomic
from autoresearch.findings import bundle
from autoresearch.findings.bundle import MOST_FILE_BYTES, Bundle
from autoresearch.formats import CONTROL, counted, shortened
from autoresearch.loop import remote_git
from autoresearch.paths import Cache
from autoresearch.records import Say
from autoresearch.system import addresses
from autoresearch.system.invocation import command, program
from autoresearch.tasks.gpt.data import hub

HUB, GIT = "hub", "git+"
FOLDER = "findings"  # of a repository
DATASET = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
SHARED_NAME = re.compile(r"(?:findings/)?[^/]+\.json", re.DOTALL)  # of a file in a repository
PLAIN_NAME = re.compile(r"[\w.,+@/ -]+")
MOST_FILES = 1000
MOST_BYTES = 1 << 30  # of all files that are fetched from one repository
TIMEOUT_S = 20.0  # until the hub's answer begins
CAUSE = 300  # characters of what an error says
NO_REPOSITORY = (
    "name the dataset repository that you share with: `share --repo OWNER/NAME`, hub:OWNER/NAME elsewhere, or "
    "AUTORESEARCH_FINDINGS=OWNER/NAME for all. There is no default one"
)


@dataclass(frozen=True, slots=True)
class FindingsSource:
    """A place that findings are fetched from: a dataset repository of the hub, or a git repository.

    `name` is OWNER/NAME or the address of the repository.
    """

    kind: str  # "hub" or "git"
    name: str

    def __str__(self) -> str:
        shown = re.sub(r"//[^/@]*@", "//", self.name)  # without a password
        return f"hub:{shown}" if self.kind == HUB else f"git+{shown}"


def is_remote(text: str) -> bool:
    """Return whether a name on the command line is a place on the net, and no path: "hub", "hub:A/B", "git+URL"."""
    return text == HUB or text.startswith((f"{HUB}:", GIT))


def source_of(text: str | None) -> FindingsSource:
    """Return the place that `text` names; None and "hub" mean the repository of AUTORESEARCH_FINDINGS.

    Raises UsageError for a text that names none.
    """
    if text is None or text == HUB:
        return FindingsSource(HUB, repository(None))
    if text.startswith(GIT):
        return FindingsSource("git", _git_address(text.removeprefix(GIT)))
    return FindingsSource(HUB, repository(text))


def repository(given: str | None) -> str:
    """Return OWNER/NAME of the dataset repository that is meant. Raises UsageError where none is, or no such name."""
    text = given or environment.findings_repository()
    if text is None:
        raise UsageError(NO_REPOSITORY)
    name = text.removeprefix(f"{HUB}:")
    if not DATASET.fullmatch(name) or ".." in name or "--" in name:
        raise UsageError(f"{_printable(text)} is not the name of a dataset repository of the hub: OWNER/NAME")
    return name


def _git_address(text: str) -> str:
    """Return the address of a git repository: a URL, HOST:PATH or an absolute path. Raises UsageError."""
    url = re.fullmatch(r"(?:https?|ssh|git|file)://[^\s\x00-\x1f]+", text)
    host = re.fullmatch(r"[\w.@][\w.@-]*:(?!:|//)[^\s:\x00-\x1f]+", text)
    if url or host:
        return text
    if text and not text.startswith("-") and "::" not in text and "://" not in text:
        return str(environment.path(text))
    raise UsageError(f"{GIT}{_printable(text)}: an address of a git repository is expected, such as git+https://...")


# --- fetching ---------------------------------------------------------------------------------------------------------


def pull(source: FindingsSource, say: Say) -> list[Bundle]:
    """Fetch the nights of a repository. Each file that is refused is told by name with the reason, and left out.

    Where the repository cannot be reached, the cached copy is used, and that is told. Raises BundleError where there is
    none, or no night in it.
    """
    folder, problem = (_from_hub if source.kind == HUB else _from_git)(source, say)
    files = _files(folder) if folder is not None else []
    if problem is not None:
        if not files:
            again = command(f"loop.py findings pull --from {source}")
            raise BundleError(f"{source} cannot be fetched: {problem}. Nothing of it is in the cache; later: {again}")
        say(f"{source} cannot be fetched: {problem}; the cached copy is used")
    found = []
    for path in files:
        try:
            found.append(bundle.load(path))
        except BundleError as error:
            say(f"left out: {_printable(path.name)}: {str(error).removeprefix(f'{path}: ')}")
    if not found:
        raise BundleError(f"{source} holds no findings (*.json, at its top or in {FOLDER}/)")
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for pattern in ("*.json", f"{FOLDER}/*.json") for path in folder.glob(pattern) if path.is_file())


def _from_hub(source: FindingsSource, say: Say) -> tuple[Path | None, str | None]:
    """Return the folder of a dataset repository's files, None where the cache has none, and why it is not up to date.

    Downloads are anonymous.
    """
    endpoint = environment.hub_endpoint()
    problem = f"{variable} is set" if (variable := environment.hub_offline()) else None
    if problem is None:
        with _asking(endpoint):
            try:
                return _newest(source.name, endpoint, say), None
            except _failures() as error:
                problem = _unreachable(error, endpoint, source.name)
    try:
        return _snapshot(source.name, endpoint, [], offline=True), problem
    except _failures():
        return None, problem


def _newest(repo: str, endpoint: str, say: Say) -> Path | None:
    """Return the folder of the newest findings of a dataset repository, or None where it has none."""
    from huggingface_hub import HfApi

    found = HfApi(endpoint, token=False).dataset_info(repo, files_metadata=True, timeout=TIMEOUT_S)
    names = _wanted([(file.rfilename, file.size or 0) for file in found.siblings or ()], say)
    return _snapshot(repo, endpoint, [glob.escape(name) for name in names]) if names else None


def _snapshot(repo: str, endpoint: str, patterns: list[str], *, offline: bool = False) -> Path:
    """Return the folder with the files that the patterns match; with `offline`, the latest one in the cache."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        repo,
        repo_type="dataset",
        cache_dir=Cache.default().findings / "hub",
        endpoint=endpoint,
        token=False,
        allow_patterns=patterns,
        local_files_only=offline,
    )
    return Path(folder)


def _wanted(files: Sequence[tuple[str, int]], say: Say) -> list[str]:
    """Return the names of the findings among (name, bytes); too large ones and odd names are told and left out."""
    names, total, late = list[str](), 0, 0
    for name, size in sorted(files):
        if not SHARED_NAME.fullmatch(name):
            continue
        if not PLAIN_NAME.fullmatch(name) or ".." in name:
            say(f"left out: {_printable(name)}: no name for a file")
            continue
        if len(names) == MOST_FILES:
            late += 1
        elif size > MOST_FILE_BYTES or total + size > MOST_BYTES:
            say(f"left out: {_printable(name)}: {size >> 20} MB, and more than is fetched from one repository")
        else:
            names.append(name)
            total += size
    if late:
        say(f"left out: {counted(late, 'file')} beyond the first {MOST_FILES:,}")
    return names


def _failures() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises, also for an answer that is none of the hub's (a login page of a hotel)."""
    return (*hub.client_errors(), ValueError, KeyError, TypeError)


@contextmanager
def _asking(endpoint: str) -> Iterator[None]:
    """Let the hub's client take our proxies, and show no progress bars."""
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    with environment.replaced(addresses.proxy_environment(endpoint)):
        disable_progress_bars()
        try:
            yield
        finally:
            enable_progress_bars()


def _unreachable(error: Exception, endpoint: str, name: str) -> str:
    """Return why the hub did not do what it was asked for."""
    at = "" if endpoint == environment.HUB else f" (HF_ENDPOINT={endpoint})"
    if _no_such(error):
        return f"the hub{at} shows no dataset repository {name}"
    if hub.status(error) is not None:
        return f"{hub.cause(error)}{at}"
    return f"the Hugging Face hub does not answer{at}: {shortened(_printable(hub.cause(error)), CAUSE)}"


def _from_git(source: FindingsSource, say: Say) -> tuple[Path | None, str | None]:
    """Return the folder of a git repository's newest files, and why it is not up to date, as `_from_hub` does."""
    folder = Cache.default().findings / "git" / bundle.sha256(source.name)[:16]
    write_atomic(folder.with_suffix(".url"), f"{source}\n".encode())

    def refuse(name: str, kind: str) -> None:
        if SHARED_NAME.fullmatch(name):
            say(f"left out: {_printable(name)}: {kind}")

    try:
        remote_git.update(folder, source.name, FOLDER, lambda files: _wanted(files, say), refuse)
    except GitError as error:
        return folder / "files", _of_git(error, source)
    return folder / "files", None


def _of_git(error: GitError, source: FindingsSource) -> str:
    """Return git's own reason in a line, without the password that an address may hold."""
    lines = [line.strip() for line in (error.stderr or str(error)).splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "git failed")
    told = told.replace(source.name, str(source).removeprefix(GIT))
    return shortened(_printable(re.sub(r"//[^/@\s]*@", "//", told)), CAUSE).rstrip(".")


# --- a pull request ---------------------------------------------------------------------------------------------------


def propose(repo: str, path: Path, title: str, description: str) -> str:
    """Open a pull request that adds a file to findings/ of a dataset repository, with the person's own login.

    Return its address. Raises BundleError in a sentence that names the next command; the file stays in any case.
    """
    import huggingface_hub as client

    endpoint, login = environment.hub_endpoint(), program("hf auth login")
    if variable := environment.hub_offline():
        raise BundleError(f"nothing was sent: {variable} is set, which forbids to ask the hub")
    token = environment.hub_token_source()
    if token is None:
        raise BundleError(f"nothing was sent: there is no login for the hub. Run: {login}, then the same command again")
    api, sending = client.HfApi(endpoint), False
    with _asking(endpoint):
        try:
            api.dataset_info(repo, timeout=TIMEOUT_S)  # a short answer first: an upload tries again for a minute
            sending = True
            made = api.upload_file(
                path_or_fileobj=path,
                path_in_repo=f"{FOLDER}/{path.name}",
                repo_id=repo,
                repo_type="dataset",
                commit_message=title,
                commit_description=description,
                create_pr=True,
            )
        except _failures() as error:
            if sending and hub.status(error) is None:
                pulls = f"{endpoint}/datasets/{repo}/discussions"
                why = f"the pull request is not confirmed: {_unreachable(error, endpoint, repo)}"
                raise BundleError(f"{why}. Before you send it again, look for it at {pulls}") from error
            raise BundleError(f"nothing was sent: {_refused(error, endpoint, repo, token)}") from error
    return made.pr_url or ""


def _refused(error: Exception, endpoint: str, repo: str, token: str) -> str:
    login = program("hf auth login")
    if isinstance(error, UnicodeError) or type(error).__name__ == "LocalProtocolError":
        return f"{token} cannot be sent: it is not a token. Log in again: {login}"
    if _no_such(error):
        how = program(f"hf repos create {repo} --type dataset")
        return f"{_unreachable(error, endpoint, repo)} to this login. If it is to be yours, create it: {how}"
    if (code := hub.status(error)) in (401, 403):
        return f"the hub refuses {token} ({code}). Log in with a token that may write: {login}"
    return f"{_unreachable(error, endpoint, repo)}. Later, the same command again"


def _no_such(error: Exception) -> bool:
    kind = type(error).__name__
    return kind == "RepositoryNotFoundError" or (hub.status(error) == 404 and "Entry" not in kind)


def _printable(text: str) -> str:
    """Return a text of somebody else's in one line that a terminal only shows."""
    return CONTROL.sub("?", " ".join(text.split()))
