"""Find Lighthouse and a browser on this machine, and say what to install where there is none."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


class Missing(Exception):
    """Something that is not installed. The text says how to install it."""


def lighthouse() -> str:
    """Return the path of Lighthouse's program. Raises Missing."""
    if found := shutil.which("lighthouse"):
        return found
    raise Missing("Lighthouse is not installed. Run: npm install -g lighthouse (https://nodejs.org brings npm)")


def browser() -> str:
    """Return the path of a browser. Raises Missing."""
    named = [os.environ.get("CHROME_PATH", ""), *(shutil.which(name) or "" for name in BROWSERS), MAC]
    if found := next((path for path in named if path and Path(path).exists()), None):
        return found
    how = "brew install --cask google-chrome" if sys.platform == "darwin" else "apt install chromium"
    raise Missing(f"No Chrome or Chromium is installed. Run: {how}")
