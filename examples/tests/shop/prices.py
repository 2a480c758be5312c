"""Prices in cents."""

from __future__ import annotations

TAX_PERCENT = 19


def gross(net: int) -> int:
    """Return a price with tax, rounded half up."""
    return (net * (100 + TAX_PERCENT) + 50) // 100


def discounted(price: int, pieces: int) -> int:
    """Return the price of one piece: 5% less from 10 pieces on, 10% less from 50."""
    percent = 10 if pieces >= 50 else 5 if pieces >= 10 else 0
    return price * (100 - percent) // 100


def total(lines: list[tuple[int, int]]) -> int:
    """Return the price of (price, pieces) lines."""
    return sum(discounted(price, pieces) * pieces for price, pieces in lines)


def shipping(grams: int, abroad: bool = False) -> int:
    """Return what a parcel costs; nothing below 100 grams."""
    if grams < 100:
        return 0
    return 490 + 120 * (grams // 1000) + (1000 if abroad else 0)


def parse(text: str) -> int:
    """Return cents: parse("12.50") -> 1250."""
    whole, _, cents = text.strip().partition(".")
    return int(whole) * 100 + int((cents + "00")[:2])
