"""Compute what a style sheet gives each element of a page: selectors, the cascade, media conditions, hovering.

It knows what the teahouse uses and refuses what it does not know, so that nothing passes for not being understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img", "hr"}
NAMED = {"white": "#fff", "black": "#000", "red": "#f00"}
SIDES = ("top", "right", "bottom", "left")
INITIAL = {("background-image", "none")}


class Unknown(Exception):
    """Something in a style sheet that this program does not understand."""


@dataclass
class Element:
    """An element of the page."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)


class Page(HTMLParser):
    """A page's elements, in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.inside: list[Element] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = self.add(tag, {name: value or "" for name, value in attrs}, self.inside[-1] if self.inside else None)
        if tag not in VOID:
            self.inside.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop().tag != tag:
            pass

    def add(self, tag: str, attributes: dict[str, str], parent: Element | None) -> Element:
        element = Element(tag, attributes, parent)
        self.elements.append(element)
        return element

    def by_id(self, name: str) -> Element:
        return next(element for element in self.elements if element.attributes.get("id") == name)


# --- the text -------------------------------------------------------------------------------------------------------

TOKEN = re.compile(r"/\*.*?\*/|\"[^\"\\\n]*\"|'[^'\\\n]*'|[{};]|[^\"'{};/]+|.", re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """Declarations for what one selector finds, under a media condition; "" for always."""

    media: str
    selector: str
    declarations: tuple[tuple[str, str, bool], ...]  # property, value, important


def rules(text: str) -> list[Rule]:
    """Read a style sheet. Raises Unknown."""
    found: list[Rule] = []
    media, piece = "", ""
    heads: list[str] = []
    body: list[str] = []
    for token in TOKEN.findall(text):
        if token.startswith("/*"):
            piece += " "
        elif token == "{":
            heads.append(" ".join(piece.split()))
            piece = ""
            if heads[-1].startswith("@media"):
                media = re.sub(r"\s*([:()])\s*", r"\1", heads[-1][6:]).strip()
            elif "@" in heads[-1] or len(heads) > 1 + bool(media):
                raise Unknown(f"{heads[-1]} {{")
        elif token in ";}":
            body.append(piece)
            piece = ""
            if token == "}":
                head = heads.pop() if heads else "}"
                if head.startswith("@media"):
                    media = ""
                else:
                    given = tuple(declaration for part in body if part.strip() for declaration in declarations(part))
                    found += [Rule(media, selector.strip(), given) for selector in head.split(",")]
                body = []
            elif not heads or heads[-1].startswith("@media"):
                raise Unknown(f"{body[-1].strip()};")
        else:
            piece += token
    if heads or piece.strip():
        raise Unknown(f"{piece.strip()[:40]} at the end")
    return found


def declarations(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the longhands of a declaration: "margin: 0 4px" -> margin-top 0, margin-right 4px, ..."""
    name, colon, value = text.partition(":")
    name, value = name.strip().lower(), value.strip()
    if not colon or not value or not re.fullmatch(r"[a-z-]+", name):
        raise Unknown(text.strip())
    important = value.endswith("!important")
    value = normal(value.removesuffix("!important"), name)
    parts = value.split()
    if name in ("margin", "padding"):
        if len(parts) > 4:
            raise Unknown(text.strip())
        four = {1: parts * 4, 2: parts * 2, 3: [*parts, *parts[1:2]]}.get(len(parts), parts)
        yield from ((f"{name}-{side}", part, important) for side, part in zip(SIDES, four, strict=True))
    elif name == "border":
        if len(parts) != 3 or parts[1] not in ("solid", "dashed", "dotted"):
            raise Unknown(text.strip())
        longhands = zip(("border-width", "border-style", "border-color"), parts, strict=True)
        yield from ((key, part, important) for key, part in longhands)
    elif name == "background":
        if len(parts) != 1 or not parts[0].startswith("#"):
            raise Unknown(text.strip())
        yield from (("background-color", value, important), ("background-image", "none", important))
    else:
        yield name, value, important


def normal(value: str, name: str) -> str:
    """Return a value in one spelling: "#FFFFFF" -> "#fff", "0.50s" -> ".5s", "0px" -> "0", "bold" -> "700"."""
    if '"' in value or "'" in value:
        return " ".join(value.replace("'", '"').split()).replace(", ", ",").replace(" ,", ",")
    value = " ".join(value.lower().split()).replace(", ", ",").replace(" ,", ",")
    value = " ".join(NAMED.get(part, part) for part in value.split(" "))
    value = re.sub(r"#([0-9a-f])\1([0-9a-f])\2([0-9a-f])\3\b", r"#\1\2\3", value)
    value = re.sub(r"(?<![\d#\w])(\d*)\.(\d*?)0*(?=\D|$)", lambda m: f"{m[1].lstrip('0')}.{m[2]}".rstrip("."), value)
    if re.match(r"margin|padding|top$|left$", name):
        value = re.sub(r"(?<![\d.])0(?:px|em|rem)\b", "0", value)
    return {"bold": "700", "normal": "400"}.get(value, value) if name == "font-weight" else value


# --- selectors ------------------------------------------------------------------------------------------------------

PART = re.compile(r"(?P<tag>\*|[a-z][a-z0-9]*)|\.(?P<cls>[\w-]+)|#(?P<id>[\w-]+)|:(?P<state>hover)(?![\w-])")
Compound = list[tuple[str, str]]


def compounds(selector: str) -> tuple[list[tuple[str, Compound]], str]:
    """Return a selector's parts, each with the sign before it, and its pseudo-element, "" for none."""
    selector = re.sub(r"\s*>\s*", " >", selector.strip())
    selector, before, pseudo = re.sub(r"::?(before|after)$", r"@@\1", selector).partition("@@")
    found = []
    for word in selector.split(" ") if selector else ["*"] if before else [""]:
        sign, word = (">", word[1:]) if word.startswith(">") else (" ", word)
        parts, at = [], 0
        while at < len(word):
            match = PART.match(word, at)
            if match is None or (match["tag"] and at):
                raise Unknown(f"the selector {selector}")
            parts.append((match.lastgroup or "", match[match.lastgroup or 0]))
            at = match.end()
        if not parts:
            raise Unknown(f"the selector {selector or '(empty)'}")
        found.append((sign, parts))
    return found, pseudo


def weight(found: list[tuple[str, Compound]], pseudo: str) -> tuple[int, int, int]:
    """Return a selector's specificity."""
    kinds = [kind for _, parts in found for kind, name in parts if name != "*"]
    return kinds.count("id"), kinds.count("cls") + kinds.count("state"), kinds.count("tag") + bool(pseudo)


def finds(found: list[tuple[str, Compound]], element: Element, hovered: bool) -> bool:
    """Return whether a selector finds an element. What is hovered is the element itself, and so all around it."""
    *outer, (sign, parts) = found
    if not all(is_part(kind, name, element, hovered) for kind, name in parts):
        return False
    if not outer:
        return True
    ancestor = element.parent
    while ancestor is not None:
        if finds(outer, ancestor, hovered):
            return True
        ancestor = None if sign == ">" else ancestor.parent
    return False


def is_part(kind: str, name: str, element: Element, hovered: bool) -> bool:
    if kind == "state":
        return hovered
    if kind == "cls":
        return name in element.attributes.get("class", "").split()
    return element.attributes.get("id") == name if kind == "id" else name in ("*", element.tag)


# --- the cascade ----------------------------------------------------------------------------------------------------


Looks = dict[tuple[int, str], dict[str, str]]  # (an element's number, a pseudo-element or "") -> property -> value


def computed(sheet: list[Rule], page: Page, media: frozenset[str], hovered: bool) -> Looks:
    """Return what a style sheet gives each element of a page, and each of their pseudo-elements."""
    given: dict[tuple[int, str], dict[str, tuple[tuple, str]]] = {}
    for order, rule in enumerate(sheet):
        found, pseudo = compounds(rule.selector)
        if rule.media and rule.media not in media:
            continue
        for number, element in enumerate(page.elements):
            if not finds(found, element, hovered):
                continue
            own = given.setdefault((number, pseudo), {})
            for place, (name, value, important) in enumerate(rule.declarations):
                rank = (important, weight(found, pseudo), order, place)
                if name not in own or rank > own[name][0]:
                    own[name] = (rank, value)
    kept = {key: {n: v for n, (_, v) in own.items() if (n, v) not in INITIAL} for key, own in given.items()}
    return {key: own for key, own in kept.items() if own}
