"""Serve the site and let Lighthouse look at it: {"performance": 57.0, "lcp_ms": ..., "tbt_ms": ..., "cls": ...}.

The page must also show its teas and its banner in an ordinary browser, so that no page scores by being empty.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import tools

SHOWN = ("Assam", "Darjeeling", "Chamomile", "Mint", "Free delivery in May", "Open daily from nine to six")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
)  # the loop's sandbox is around it
AUDITS = {"fcp_ms": "first-contentful-paint", "lcp_ms": "largest-contentful-paint", "tbt_ms": "total-blocking-time"}
SLOWER = ["--throttling.cpuSlowdownMultiplier=6", "--throttling.rttMs=300", "--throttling.throughputKbps=900"]
PATIENCE_S = 240.0
TMP = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()  # a socket's path may have 107 characters


class Site(SimpleHTTPRequestHandler):
    """Serves site/, and data/vendor/ as vendor/."""

    def translate_path(self, path: str) -> str:
        found = super().translate_path(path)
        return found.replace(f"{self.directory}/vendor/", f"{Path(self.directory).parent}/data/vendor/")

    def log_message(self, format: str, *args: object) -> None:
        pass


def look(url: str, folder: Path, slower: bool) -> dict[str, float]:
    """Return what Lighthouse says of a page, on its usual slow phone or on a slower one."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    command = [tools.lighthouse(), url, "--only-categories=performance", "--output=json", f"--output-path={report}"]
    command += [f"--chrome-flags={' '.join(FLAGS)} --user-data-dir={folder / 'profile'}", "--quiet"]
    command += SLOWER if slower else []
    subprocess.run(
        command, check=True, timeout=PATIENCE_S, env={**os.environ, "CHROME_PATH": tools.browser(), "TMPDIR": TMP}
    )
    found = json.loads(report.read_text())
    if "runtimeError" in found:
        raise ValueError(found["runtimeError"]["message"])
    figures = {name: round(found["audits"][audit]["numericValue"], 1) for name, audit in AUDITS.items()}
    shift = found["audits"]["cumulative-layout-shift"]["numericValue"]
    whole = round(100 * found["categories"]["performance"]["score"], 1)
    return {"performance": whole, **figures, "cls": round(shift, 4)}


def shown(url: str, folder: Path) -> str:
    """Return the page as an ordinary browser shows it after five seconds."""
    command = [tools.browser(), *FLAGS, f"--user-data-dir={folder / 'plain'}", "--virtual-time-budget=5000"]
    command += ["--window-size=412,823", "--dump-dom", url]
    env = {**os.environ, "TMPDIR": TMP}
    done = subprocess.run(command, env=env, timeout=PATIENCE_S, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"the browser exited with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def score(slower: bool, looks: int) -> dict[str, float]:
    """Return what Lighthouse says of the site, in the look whose performance is the median of `looks`.

    Raises ValueError for a page that does not show what it must.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(Path("site").resolve())))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        page = shown(url, Path(scratch))
        if missing := [text for text in SHOWN if text not in page]:
            raise ValueError(f"the page does not show {missing[0]}")
        found = sorted((look(url, Path(scratch), slower) for _ in range(looks)), key=lambda f: f["performance"])
    server.shutdown()
    return found[looks // 2]


def main() -> int:
    parser = argparse.ArgumentParser(description="Let Lighthouse look at the site.")
    parser.add_argument("--slower", action="store_true", help="as on a phone and a line that no experiment has")
    parser.add_argument("--looks", type=int, default=1, metavar="N", help="of which the median counts")
    args = parser.parse_args()
    try:
        print(json.dumps(score(args.slower, args.looks)))
    except (tools.Missing, ValueError, KeyError, OSError, subprocess.SubprocessError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
