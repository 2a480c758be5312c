"""The visitors, and whether a page persuades them. This is the truth that the loop does not see."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

PRICE = 30.0  # a sale without discount

HEADLINE = {"features": 0.0, "benefit": 0.25, "question": 0.08}
BUTTON = {"Submit": 0.0, "Sign up": 0.10, "Try it free": 0.22}
PRICES = {"hidden": -0.10, "yearly": 0.0, "monthly": 0.18}
IMAGE = {"stock": 0.0, "product": 0.20, "none": 0.05}


@dataclass(frozen=True)
class Visitor:
    """A person who opens the page."""

    mobile: bool
    intent: float  # how much this person wants the product, normal
    thrift: float  # how much the price matters, 0 to 1
    stay_s: float  # how long this person stays


def visitor(rng: random.Random) -> Visitor:
    return Visitor(rng.random() < 0.6, rng.gauss(0, 0.8), rng.random(), rng.expovariate(1 / 25))


def chance(ui: dict, who: Visitor) -> float:
    """Return the probability that a page persuades a visitor. Round corners persuade nobody."""
    x = -3.0 + who.intent
    x += HEADLINE[ui["headline"]] + BUTTON[ui["button_text"]]
    x += PRICES[ui["price_display"]] * (0.5 + who.thrift)
    x += IMAGE[ui["image"]] * (0.4 if who.mobile else 1.2)
    best_px = 32 if who.mobile else 22
    x -= ((ui["button_px"] - best_px) / 26) ** 2
    x -= (0.07 if who.mobile else 0.04) * max(0, ui["form_fields"] - 3) + 0.25 * (ui["form_fields"] < 3)  # no trust
    x += 0.30 * (1 - math.exp(-ui["reviews"] / 2)) - 0.03 * ui["reviews"] * who.mobile  # proof; then a long page
    if who.stay_s > ui["popup_after_s"]:
        x += (0.15 if ui["popup_after_s"] > 20 else -0.2) if not who.mobile else -0.3
    x += 0.025 * ui["discount_percent"] * who.thrift
    return 1 / (1 + math.exp(-x))
