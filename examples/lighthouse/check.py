"""Check that the page still says and shows what it did: texts, picture, places, layout. Exit 1 where not."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

TEXTS = ("Teahouse", "Twelve teas, delivered.", "Open daily from nine to six")
PLACES = ("banner", "hero", "cards")
STYLE = ("body{margin:0", "#hero{width:100%", "#cards{display:flex;flex-wrap:wrap", "#cards li{width:45%;margin:4px")
SETTINGS = {"banner_after_ms": (0, 60_000), "warm_up_rounds": (0, 10_000)}


class Seen(HTMLParser):
    """Texts and ids of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.ids, self.pictures = "", set[str](), list[dict[str, str | None]]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"]} if given.get("id") else set()
        self.pictures += [given] if tag == "img" else []

    def handle_data(self, data: str) -> None:
        self.text += f" {data.strip()}"


def wrong(html: str, style: str, settings: str) -> list[str]:
    """Return what a page lacks, an empty list where it lacks nothing."""
    seen = Seen(html)
    found = [f"the text is gone: {text}" for text in TEXTS if text not in seen.text]
    found += [f"the place is gone: #{name}" for name in PLACES if name not in seen.ids]
    if not any(p.get("id") == "hero" and p.get("alt") and "vendor/hero" in (p.get("src") or "") for p in seen.pictures):
        found.append('the picture is gone: <img id="hero" src="vendor/hero..." alt="...">')
    dense = re.sub(r"\s*([{}:;,])\s*", r"\1", style)
    found += [f"the style is gone: {rule}" for rule in STYLE if rule not in dense]
    try:
        values = json.loads(settings)
    except ValueError as error:
        return [*found, f"settings.json is not JSON: {error}"]
    if type(values) is not dict or values.keys() != SETTINGS.keys():
        return [*found, f"settings.json has the keys {', '.join(SETTINGS)}"]
    for name, (low, high) in SETTINGS.items():
        if type(values[name]) not in (int, float) or not low <= values[name] <= high:
            found.append(f"{name} = {values[name]!r} is not a number from {low} to {high}")
    return found


def main() -> int:
    try:
        found = wrong(*(Path(f"site/{name}").read_text() for name in ("index.html", "style.css", "settings.json")))
    except UnicodeDecodeError as error:
        found = [f"no text: {error}"]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
