"""Serve dataset repositories on loopback as a Hugging Face hub does (for HF_ENDPOINT), with failures on demand.

As on the real hub, the address of a file answers with a redirect to another host and with the file's headers
(X-Repo-Commit, X-Linked-ETag, X-Linked-Size). The storage behind the redirect serves ranges. The hub's interface for
programs (/api) lists a repository's files and takes pull requests, which it keeps in `pulls`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class FakeHub(ThreadingHTTPServer):
    """Hub that serves `files`, which maps repo -> name -> content.

    A test sets `refuse`, `cut` and `knows_no_token` to make transfers fail, and reads in `transfers` what was asked.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.blobs = {hashlib.sha256(raw).hexdigest(): raw for repo in files.values() for raw in repo.values()}
        self.transfers: list[tuple[str, int]] = []  # (file name, first byte asked for)
        self.heads = 0
        self.refuse: list[int] = []  # statuses that the next transfers answer with
        self.knows_no_token = False  # answer 401 to every token, as for one that has expired
        self.writers: set[str] = set()  # tokens that may open pull requests
        self.pulls: list[dict[str, Any]] = []  # title, description, repository and files of each
        self.portal = False  # answer every question with a page of its own
        self.cut: list[int] = []  # bytes after which the next transfers break off

    @property
    def commit(self) -> str:
        """The newest commit, another one for other contents."""
        names = [
            (repo, name, hashlib.sha256(raw).hexdigest())
            for repo in self.files
            for name, raw in self.files[repo].items()
        ]
        return hashlib.sha1(repr(names).encode()).hexdigest()

    def put(self, repo: str, **files: bytes) -> None:
        """Set the files of a repository; a name is without its .json."""
        self.files[repo] = {f"{name}.json": raw for name, raw in files.items()}
        self.blobs.update({hashlib.sha256(raw).hexdigest(): raw for raw in files.values()})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.server.heads += 1
        self._resolve()

    def do_GET(self) -> None:
        if self.path.startswith("/storage/"):
            self._transfer(self.path.removeprefix("/storage/"))
        elif match := re.match(r"/api/datasets/([^/?]+/[^/?]+)", self.path):
            self._list(match[1])
        else:
            self._resolve()

    def do_POST(self) -> None:
        """Take a pull request in the hub's two steps: /preupload, then /commit with one JSON object a line."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/(preupload|commit)/main\?create_pr=1", self.path)
        if match is None:
            self._empty(404, {"X-Error-Code": "RepoNotFound"})
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.server.writers:
            self._empty(403, {})
        elif match[2] == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            self._json({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        else:
            head, *files = [json.loads(line)["value"] for line in body.splitlines()]
            content = {file["path"]: base64.b64decode(file["content"]) for file in files}
            self.server.pulls.append({**head, "repo": match[1], "files": content})
            page, n = f"{self.server.endpoint}/datasets/{match[1]}", len(self.server.pulls)
            urls = {"commitUrl": f"{page}/commit/{self.server.commit}", "pullRequestUrl": f"{page}/discussions/{n}"}
            self._json({**urls, "commitOid": self.server.commit})

    def _list(self, repo: str) -> None:
        files = self.server.files.get(repo)
        if self.server.portal:
            self._json("Welcome to the hotel")
        elif self.server.knows_no_token and "Authorization" in self.headers:
            self._empty(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif files is None:
            self._empty(404, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in self.path:
            oids = {name: hashlib.sha1(raw).hexdigest() for name, raw in files.items()}
            self._json([{"type": "file", "path": n, "size": len(raw), "oid": oids[n]} for n, raw in files.items()])
        else:
            listed = [{"rfilename": name, "size": len(raw)} for name, raw in files.items()]
            self._json({"id": repo, "sha": self.server.commit, "siblings": listed})

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _resolve(self) -> None:
        match = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        repo = self.server.files.get(match[1]) if match else None
        if self.server.knows_no_token and "Authorization" in self.headers:
            self._empty(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif match is None or repo is None:
            self._empty(404, {"X-Error-Code": "RepoNotFound"})
        elif match[3] not in repo:
            self._empty(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.server.commit})
        else:
            raw = repo[match[3]]
            digest = hashlib.sha256(raw).hexdigest()
            location = f"http://localhost:{self.server.server_port}/storage/{digest}"
            headers = {
                "X-Repo-Commit": self.server.commit,
                "X-Linked-ETag": f'"{digest}"',
                "X-Linked-Size": str(len(raw)),
            }
            self._empty(302, {**headers, "Location": location})

    def _transfer(self, digest: str) -> None:
        raw = self.server.blobs[digest]
        start = int(re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", "bytes=0-"))[1])  # type: ignore[index]
        name = next(n for repo in self.server.files.values() for n, content in repo.items() if content == raw)
        self.server.transfers.append((name, start))
        if self.server.refuse:
            self._empty(self.server.refuse.pop(0), {})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        self.send_header("ETag", f'"{digest}"')
        self.send_header("Content-Length", str(len(raw) - start))
        self.end_headers()
        if self.server.cut:
            self.wfile.write(raw[start : start + self.server.cut.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(raw[start:])

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing: tests read `transfers` instead."""
