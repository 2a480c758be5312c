"""Run the research around the files that may change. The loop's own process never imports mlx."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - macOS brings an older Python, which fails in the modules below
    _found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"error: this needs Python 3.11, and {sys.executable} is {_found}. Run: uv run {' '.join(sys.argv)}")
