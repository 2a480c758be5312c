"""Time the report: execute indexes.sql and query.sql on a copy of a database in memory, and print the figures.

    python score.py --db data/orders.db    -> {"p50_ms": 412.7, "db_mb": 11.2, "runs_ms": [...], "plan": [...]}
    python score.py --same-rows A.db B.db  -> exit code 1 where the rows are not those of reference.sql

The two files are texts that this process executes under an authorizer: indexes.sql may create indexes and analyze,
query.sql may be one SELECT. The rows must be those of reference.sql on the same copy. The seed has taken some orders
out of it, so that no answer can be written down beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import time
from pathlib import Path

RUNS = (3, 9)  # at least, at most
ENOUGH_S = 0.5  # of timed runs
DROPPED = 97  # one order in so many is taken out
MOST_BYTES = 4000  # of a text: room for a query, none for its answers

WRITES_INDEXES = {
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_ANALYZE,
    sqlite3.SQLITE_REINDEX,
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
}
BOOKKEEPING = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}  # of SQLite's own tables
OWN_TABLES = {"sqlite_master", "sqlite_stat1", "sqlite_stat4"}
READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


class Refused(Exception):
    """What the texts did that they may not."""


def may_index(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action in WRITES_INDEXES or (action in BOOKKEEPING and first in OWN_TABLES):
        return sqlite3.SQLITE_OK
    created_by_analyze = action == sqlite3.SQLITE_CREATE_TABLE and first in OWN_TABLES
    return sqlite3.SQLITE_OK if created_by_analyze else sqlite3.SQLITE_DENY


def may_read(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in READS else sqlite3.SQLITE_DENY


def text(path: str) -> str:
    data = Path(path).read_bytes()
    if len(data) > MOST_BYTES:
        raise Refused(f"{path} has {len(data)} bytes, more than {MOST_BYTES}")
    if not data.strip():
        raise Refused(f"{path} is empty")
    return data.decode()


def copy_of(path: str, seed: int) -> sqlite3.Connection:
    """Return a copy of a database in memory, without one order in 97."""
    source = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db = sqlite3.connect(":memory:", isolation_level=None)
    source.backup(db)
    source.close()
    db.execute("DELETE FROM orders WHERE id % ? = ?", (DROPPED, seed % DROPPED))
    return db


def with_indexes(db: sqlite3.Connection) -> None:
    before = names(db)
    db.set_authorizer(may_index)
    db.executescript(text("indexes.sql"))
    db.set_authorizer(None)
    if made := {name for kind, name in names(db) - before if kind != "index" and name not in OWN_TABLES}:
        raise Refused(f"indexes.sql made {', '.join(sorted(made))}: it may create indexes only")


def names(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(db.execute("SELECT type, name FROM sqlite_master"))


def rows(db: sqlite3.Connection, query: str) -> list[tuple]:
    """Execute one SELECT and return its rows."""
    db.set_authorizer(may_read)
    try:
        return db.execute(query).fetchall()
    finally:
        db.set_authorizer(None)


def prepared(path: str, seed: int) -> tuple[sqlite3.Connection, str, list[tuple]]:
    """Return a copy of a database with the indexes, the query, and the rows that it must return."""
    db = copy_of(path, seed)
    expected = rows(db, Path("reference.sql").read_text())
    with_indexes(db)
    return db, text("query.sql"), expected


def checked(found: list[tuple], expected: list[tuple], path: str) -> None:
    """Raise Refused where rows differ. 1 and 1.0 are different answers."""
    if repr(found) != repr(expected):
        pairs = ((f, e) for f, e in zip(found, expected, strict=False) if repr(f) != repr(e))
        first = "".join(f"; the first that differs is {f}, not {e}" for f, e in [next(pairs, (None, None))] if e)
        raise Refused(f"{path}: {len(found)} rows, {len(expected)} expected{first}")


def same_rows(path: str, seed: int) -> None:
    db, query, expected = prepared(path, seed)
    checked(rows(db, query), expected, path)


def score(path: str, seed: int) -> dict[str, object]:
    db, query, expected = prepared(path, seed)
    checked(rows(db, query), expected, path)  # and warm the cache
    times: list[float] = []
    while len(times) < RUNS[0] or (len(times) < RUNS[1] and sum(times) < ENOUGH_S * 1000):
        start = time.perf_counter()
        found = rows(db, query)
        times.append((time.perf_counter() - start) * 1000)
        checked(found, expected, path)
    (size,) = db.execute("SELECT page_count * page_size / 1e6 FROM pragma_page_count, pragma_page_size").fetchone()
    plan = [line for *_, line in db.execute(f"EXPLAIN QUERY PLAN {query}")]
    runs_ms = [round(t, 3) for t in times]
    return {"p50_ms": statistics.median(runs_ms), "db_mb": round(size, 3), "runs_ms": runs_ms, "plan": plan}


def main() -> int:
    parser = argparse.ArgumentParser(description="Time query.sql with indexes.sql, or compare its rows.")
    parser.add_argument("--db", default="data/orders.db")
    parser.add_argument("--same-rows", nargs="+", metavar="DB", help="compare rows and time nothing")
    options = parser.parse_args()
    seed = int(os.environ.get("AUTORESEARCH_SEED", "0"))
    try:
        if options.same_rows:
            for path in options.same_rows:
                same_rows(path, seed)
        else:
            print(json.dumps(score(options.db, seed)))
    except (Refused, sqlite3.Error, sqlite3.Warning, UnicodeDecodeError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
