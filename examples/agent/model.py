"""The model that the agent asks: one behind an OpenAI-compatible server, or a scripted one where none answers.

    ask = connect({"kind": "scripted"}, seed=1)  # a seed for a server's model; the scripted one needs none
    ask([{"role": "system", "content": "..."}, {"role": "user", "content": "How many ...?"}], 0.7) -> "It is 369."

The scripted model imitates a small one. It understands the questions, and it does what the prompt says: it calls the
tools whose `CALL name: ...` the prompt shows, it ends with `ANSWER:` where it is told to, and takes more care where it
is told to go step by step. What it has no tool for it works out in its head, with the slips of a small model.
"""

from __future__ import annotations

import json
import os
import random
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

Messages = list[dict[str, str]]
Ask = Callable[[Messages, float], str]

OLLAMA = "http://127.0.0.1:11434"
PATIENCE_S = 120.0  # for an answer
MOST_TOKENS = 400  # of an answer


def found() -> dict[str, str]:
    """Return the model that answers on this machine now: AUTORESEARCH_AGENT_URL and _MODEL, Ollama's, or scripted."""
    url = os.environ.get("AUTORESEARCH_AGENT_URL", OLLAMA).rstrip("/").removesuffix("/v1")
    try:
        with urllib.request.urlopen(f"{url}/v1/models", timeout=2) as answer:
            names = [each["id"] for each in json.load(answer)["data"]]
    except (OSError, ValueError, KeyError, TypeError):
        names = []
    name = os.environ.get("AUTORESEARCH_AGENT_MODEL") or next(iter(names), "")
    return {"kind": "server", "url": url, "name": name} if names and name else {"kind": "scripted"}


def connect(model: dict[str, str], seed: int) -> Ask:
    """Return the function that asks a model which `found` has named."""
    return Server(model["url"], model["name"], seed) if model["kind"] == "server" else Scripted()


class Server:
    """A model behind an OpenAI-compatible server."""

    def __init__(self, url: str, name: str, seed: int) -> None:
        self.url, self.name, self.seed = url, name, seed

    def __call__(self, messages: Messages, temperature: float) -> str:
        body = {"model": self.name, "messages": messages, "temperature": temperature, "seed": self.seed}
        data = json.dumps({**body, "max_tokens": MOST_TOKENS, "stream": False}).encode()
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["choices"][0]["message"]["content"] or ""


# What the questions look like, and how likely a slip is where the model works it out in its head.
COUNT = re.compile(r"(\d+) boxes of (\d+) \w+ each\. (\d+)")
PRICE = re.compile(r"(\d+) \w+ cost (\d+) dollars each, less (\d+) percent")
UNIT = re.compile(r"How many (\w+) are ([\d.]+) (\w+)\?")
DAY = re.compile(r"sent on (\d{4}-\d\d-\d\d) takes (\d+) days")
STOCK = re.compile(r"sell (\d+) (\w+?)s of those in stock")
SLIPS = {"count": 0.7, "price": 0.8, "unit": 0.6, "day": 0.6, "stock": 0.25}
FACTORS = {"km": 1.609344, "cm": 2.54, "kg": 0.45359237, "litres": 3.785411784}
ROUGH = {"km": 1.6, "cm": 2.5, "kg": 0.45, "litres": 3.8}


class Scripted:
    """A small model's imitation: the same answers to the same questions at the same time of asking."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()  # how often, by question and tools' results

    def __call__(self, messages: Messages, temperature: float) -> str:
        system = " ".join(m["content"] for m in messages if m["role"] == "system")
        question = next(m["content"] for m in messages if m["role"] == "user")
        heard = [m["content"] for m in messages if m["role"] == "user"][1:]
        rng = random.Random(f"{self.asked[question, len(heard)]} {len(heard)} {question}")
        self.asked[question, len(heard)] += 1
        heat = min(max(temperature, 0.0), 2.0)
        if heard and heard[-1].startswith("ERROR"):
            return "I could not work that out."
        thought = Thought(system, [h.removeprefix("RESULT ") for h in heard], heat, rng)
        return thought.about(question)


class Thought:
    """One reply to a question, under a prompt, with what the tools have said."""

    def __init__(self, system: str, results: list[str], heat: float, rng: random.Random) -> None:
        self.system, self.results, self.heat, self.rng = system, results, heat, rng
        self.tools = set(re.findall(r"CALL (\w+):", system))
        self.careful = "step by step" in system.lower()

    def about(self, question: str) -> str:
        if m := COUNT.search(question):
            boxes, each, broken = map(int, m.groups())
            return self.sum("count", f"{boxes} * {each} - {broken}", boxes * each - broken)
        if m := PRICE.search(question):
            number, each, percent = map(int, m.groups())
            return self.sum(
                "price", f"{number} * {each} * {100 - percent} / 100", number * each * (100 - percent) / 100
            )
        if m := UNIT.search(question):
            return self.unit(m[1], float(m[2]), m[3])
        if m := DAY.search(question):
            return self.day(date.fromisoformat(m[1]), int(m[2]))
        if m := STOCK.search(question):
            return self.stock(m[2], int(m[1]))
        return "I do not know."

    def sum(self, kind: str, expression: str, value: float) -> str:
        """Work out an expression, by the calculator where the prompt shows one."""
        if self.results:
            return self.say(self.results[-1])
        if "calculator" in self.tools:
            return f"CALL calculator: {self.typed(expression)}"
        return self.say(f"{self.slip(kind, value):g}")

    def unit(self, wanted: str, value: float, given: str) -> str:
        if self.results:
            return self.say(f"{float(self.results[-1]):.1f}")
        if "convert" in self.tools:
            return f"CALL convert: {value:g} {given} to {wanted}"
        known = re.search(rf"{FACTORS.get(wanted, 1):.3f}"[:-1], self.system)  # the prompt gives the factor
        factor = (FACTORS if known else ROUGH).get(wanted, 1)
        if "calculator" in self.tools:
            return f"CALL calculator: {self.typed(f'{value:g} * {factor:g}')}"
        return self.say(f"{self.slip('unit', value * factor):.1f}")

    def day(self, start: date, days: int) -> str:
        if self.results:
            return self.say(self.results[-1])
        if "days" in self.tools:
            return f"CALL days: {start} + {days}"
        months, rest = divmod(days, 30)  # as if all months had 30 days
        rough = start + timedelta(days=round(months * 30.44) + rest)
        return self.say(str(rough + timedelta(days=0 if self.sure("day") else self.rng.choice([-2, -1, 1, 2]))))

    def stock(self, item: str, sold: int) -> str:
        if not self.results and "stock" in self.tools:
            return f"CALL stock: {item}"
        if len(self.results) == 1 and "calculator" in self.tools:
            return f"CALL calculator: {self.typed(f'{self.results[0]} - {sold}')}"
        if not self.results:
            return self.say(str(self.rng.randint(20, 900)))  # it cannot know, and answers all the same
        left = self.results[-1] if len(self.results) > 1 else f"{self.slip('stock', float(self.results[0]) - sold):g}"
        return self.say(left)

    def sure(self, kind: str) -> bool:
        """Return whether the model gets something right in its head."""
        slips = SLIPS[kind] * (0.5 if self.careful else 1.0) * (0.6 + 0.4 * self.heat)
        return self.rng.random() >= slips

    def slip(self, kind: str, value: float) -> float:
        return (
            value if self.sure(kind) else value + self.rng.choice([-100, -10, -1, 1, 10, 100]) * self.rng.randint(1, 3)
        )

    def typed(self, expression: str) -> str:
        """Return an expression as the model types it: now and then with a wrong digit, a hot one more often."""
        if self.rng.random() >= 0.03 + 0.12 * self.heat:
            return expression
        digits = [m.start() for m in re.finditer(r"\d", expression)]
        at = self.rng.choice(digits)
        return expression[:at] + str(self.rng.randint(1, 9)) + expression[at + 1 :]

    def say(self, value: str) -> str:
        if "ANSWER:" in self.system and self.rng.random() >= 0.05 * self.heat:
            return f"The question has {self.rng.randint(2, 3)} parts.\nANSWER: {value}"
        return self.rng.choice(
            [f"It is {value}.", f"{value}", f"That makes {value}, in 1 step.", f"{value} (I checked it 2 times)."]
        )
