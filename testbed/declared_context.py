"""Provide a declared task of several files, in a context of its night, for tests of proposers."""

from __future__ import annotations

from dataclasses import replace

from autoresearch.candidate import edits
from autoresearch.candidate.pack import pack
from autoresearch.metrics import Metric
from autoresearch.records import Brief, Context, Edit, SearchReplace, Set, TaskFacts, Trial, Verdict

FILES = {
    "query.sql": "SELECT name\nFROM people\nWHERE age > 3\n",
    "conf.toml": "pages = 10 # of the cache\nmode = 'wal'\n",
    "run.py": "LIMIT = 8  # rows\n\n\ndef f():\n    return LIMIT\n",
}
SOURCE = pack(FILES)
MS = Metric(name="p50_ms", unit="ms", direction="lower", scale="log", decimals=None)
FACTS = TaskFacts(name="sql", metric=MS, files=tuple(FILES))
IDEA = "TITLE: By id\nCATEGORY: query\n### query.sql\n<<<<<<< SEARCH\nSELECT name\n=======\nSELECT id\n>>>>>>> REPLACE"
BRIEF = Brief(
    role="You make a report faster.",
    api="SQLite 3.40 runs it.",
    categories=("query", "index", "other"),
    levers={"query": "Look at the query first."},
    knobs={"pages": (1, 1000), "mode": ("wal", "off")},
    read={"schema.sql": "CREATE TABLE people (name, age);\n"},
    ideas={"10-by-id": IDEA},
)
CONTEXT = Context(SOURCE, MS.score(12.5), 0.02, "# Brief\n\nBe quick.", FACTS, "M4", brief=BRIEF, seed=3, turn=5)
BARE = replace(
    CONTEXT, source=pack({"query.sql": FILES["query.sql"]}), brief=Brief(role="Faster.")
)  # without constants


def tried(n: int, change: Edit, gain: float, verdict: Verdict = "discard", context: Context = CONTEXT) -> Trial:
    """Return a trial of the night that gained that much in the logarithm of the time."""
    source, score = edits.apply(context.source, [change]), context.incumbent_score - gain
    return Trial(
        n, "tuner", f"Idea {n}", "", "query", (change,), source, context.source, verdict, "", gain, 0.02, score
    )  # fmt: skip


HISTORY = (
    tried(1, Set("pages", "20"), 0.1, "keep"),
    tried(2, SearchReplace("FROM people", "FROM persons", "query.sql"), -0.05),
)
