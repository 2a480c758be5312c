"""Make what the page loads from elsewhere, in data/vendor/: a large script, a theme, and two pictures of a teapot.

Exit 1, and say what to install, where Lighthouse or a browser is missing.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import tools

FUNCTIONS = 4_000  # of the script, of which the page uses none
SHAPES = {"hero": 6_000, "hero-small": 300}


def widgets() -> str:
    """Return a script of 250 kB that a browser has to read and run before it goes on."""
    body = "".join(
        f"widgets[{i}]=function(a,b){{return a*{i}+b%{i + 1}+Math.sqrt(a*b+{i})}};" for i in range(FUNCTIONS)
    )
    return f"var widgets=[];{body}for(var i=0;i<widgets.length;i++)widgets[i](i,i+1);\n"


def teapot(shapes: int) -> str:
    rng = random.Random(1)
    dots = "".join(
        f'<circle cx="{rng.random() * 800:.2f}" cy="{rng.random() * 400:.2f}" r="{3 + rng.random() * 9:.2f}"'
        f' fill="#{rng.randrange(16**6):06x}"/>'
        for _ in range(shapes)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 400" width="800" height="400">{dots}</svg>\n'


def main() -> int:
    try:
        print(f"lighthouse: {tools.lighthouse()}\nbrowser: {tools.browser()}")
    except tools.Missing as error:
        print(error, file=sys.stderr)
        return 1
    folder = Path("data/vendor")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "widgets.js").write_text(widgets())
    (folder / "theme.css").write_text("".join(f".theme-{i} {{ color: #{i:06x}; }}\n" for i in range(4_000)))
    for name, shapes in SHAPES.items():
        (folder / f"{name}.svg").write_text(teapot(shapes))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
