"""What is in stock, in a table of SQLite."""

from __future__ import annotations

import sqlite3


class Stock:
    """Items with their price and number."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price INTEGER, pieces INTEGER)")

    def add(self, name: str, price: int, pieces: int) -> int:
        with self.db:
            return self.db.execute(
                "INSERT INTO items (name, price, pieces) VALUES (?, ?, ?)", (name, price, pieces)
            ).lastrowid

    def pieces(self, item: int) -> int:
        (found,) = self.db.execute("SELECT pieces FROM items WHERE id = ?", (item,)).fetchone()
        return found

    def take(self, item: int, pieces: int) -> None:
        """Take pieces out. Raise ValueError where there are not as many."""
        if pieces > self.pieces(item):
            raise ValueError(f"only {self.pieces(item)} pieces are left")
        with self.db:
            self.db.execute("UPDATE items SET pieces = pieces - ? WHERE id = ?", (pieces, item))

    def put_back(self, item: int, pieces: int) -> None:
        with self.db:
            self.db.execute("UPDATE items SET pieces = pieces + ? WHERE id = ?", (pieces, item))

    def search(self, text: str) -> list[str]:
        rows = self.db.execute("SELECT name FROM items WHERE name LIKE ? ORDER BY name", (f"%{text}%",))
        return [name for (name,) in rows]

    def scarce(self, below: int) -> int:
        (found,) = self.db.execute("SELECT count(*) FROM items WHERE pieces < ?", (below,)).fetchone()
        return found
