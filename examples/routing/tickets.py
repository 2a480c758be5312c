"""The world that the tickets come from: what a person writes whose ticket belongs to a queue. Its truth is known."""

from __future__ import annotations

import random

QUEUES = ("billing", "delivery", "returns", "account", "technical", "sales")
SHARES = (5, 6, 4, 4, 5, 3)  # of the queues

# Words of each queue, the frequent ones first.
TOPICS = {
    "billing": "invoice payment charge card receipt vat bank debit subscription overcharge amount billing",
    "delivery": "delivery parcel package ship courier tracking arrive late address driver depot customs",
    "returns": "return refund exchange damage broken wrong label replace unwanted size warranty send",
    "account": "account password login email verify username profile locked delete sign code security",
    "technical": "error crash update screen install freeze app connect battery bluetooth sync version",
    "sales": "price offer discount buy stock quote available order catalogue bulk wholesale compare",
}
# Words that two queues share: they mislead.
SHARED = {
    "billing": "refund order subscription account",
    "delivery": "order return wrong email",
    "returns": "delivery payment order screen",
    "account": "email update card error",
    "technical": "account update return password",
    "sales": "delivery card size version",
}
NOTHING = (  # words that say nothing
    "hello please help thanks week today since yesterday still need could would again nobody answer phone customer "
    "really just asked waited times number team know what when there have about reply urgent kind regards"
)
FILLER = NOTHING.split()
ENDINGS = ("", "", "", "s", "ed", "ing")


def word(queue: str, rng: random.Random) -> str:
    """Return a word that somebody writes about a queue's subject, now and then of a neighbour's, in some form."""
    words = (SHARED if rng.random() < 0.22 else TOPICS)[queue].split()
    place = min(int(rng.expovariate(0.28)), len(words) - 1)
    return words[place] + rng.choice(ENDINGS)


def line(queue: str, length: int, density: float, rng: random.Random) -> str:
    return " ".join(word(queue, rng) if rng.random() < density else rng.choice(FILLER) for _ in range(length))


def ticket(rng: random.Random) -> tuple[str, dict[str, str]]:
    """Return a queue and a ticket that belongs to it: ("returns", {"subject": "refund ...", "body": "..."})."""
    queue = rng.choices(QUEUES, SHARES)[0]
    other = rng.choice(QUEUES)  # what the mail also mentions
    subject = line(queue, rng.randint(2, 5), 0.30, rng)
    lines = [line(queue, rng.randint(5, 9), 0.18, rng)]
    lines += [line(queue if rng.random() < 0.5 else other, rng.randint(6, 12), 0.12, rng) for _ in range(2)]
    if rng.random() < 0.5:
        lines += ["> " + line(rng.choice(QUEUES), rng.randint(6, 12), 0.25, rng) for _ in range(rng.randint(1, 3))]
    return queue, {"subject": subject.capitalize(), "body": "\n".join(lines)}


def tickets(count: int, seed: int) -> list[tuple[str, dict[str, str]]]:
    rng = random.Random(seed)
    return [ticket(rng) for _ in range(count)]
