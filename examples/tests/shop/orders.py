"""Orders and what may become of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from shop import prices
from shop.stock import Stock

NEXT = {"new": {"paid", "cancelled"}, "paid": {"shipped", "cancelled"}, "shipped": {"returned"}}


@dataclass
class Order:
    """What a customer has ordered: item -> pieces."""

    stock: Stock
    items: dict[int, int] = field(default_factory=dict)
    state: str = "new"

    def add(self, item: int, pieces: int = 1) -> None:
        self.stock.take(item, pieces)
        self.items[item] = self.items.get(item, 0) + pieces

    def become(self, state: str) -> None:
        """Raise ValueError for a step that does not exist."""
        if state not in NEXT.get(self.state, set()):
            raise ValueError(f"an order that is {self.state} cannot become {state}")
        if state in ("cancelled", "returned"):
            for item, pieces in self.items.items():
                self.stock.put_back(item, pieces)
        self.state = state

    def net(self) -> int:
        lines = []
        for item, pieces in self.items.items():
            (price,) = self.stock.db.execute("SELECT price FROM items WHERE id = ?", (item,)).fetchone()
            lines.append((price, pieces))
        return prices.total(lines)

    def gross(self) -> int:
        return prices.gross(self.net())
