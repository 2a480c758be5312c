"""Users and their passwords."""

from __future__ import annotations

import hashlib
import hmac

ROUNDS = 600_000  # of PBKDF2, as OWASP recommends


class Users:
    """Users by their address."""

    def __init__(self, rounds: int = ROUNDS) -> None:
        self.rounds = rounds
        self.hashes: dict[str, bytes] = {}
        self.failures: dict[str, int] = {}

    def hashed(self, address: str, password: str) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", password.encode(), address.lower().encode(), self.rounds)

    def register(self, address: str, password: str) -> None:
        """Raise ValueError for an address that is taken, or a password that is too short."""
        if address.lower() in self.hashes:
            raise ValueError(f"{address} is taken")
        if len(password) < 8:
            raise ValueError("a password has at least 8 characters")
        self.hashes[address.lower()] = self.hashed(address, password)

    def login(self, address: str, password: str) -> bool:
        """Return whether the password is right. After three wrong ones it is not even looked at."""
        address = address.lower()
        if address not in self.hashes or self.failures.get(address, 0) >= 3:
            return False
        right = hmac.compare_digest(self.hashes[address], self.hashed(address, password))
        self.failures[address] = 0 if right else self.failures.get(address, 0) + 1
        return right
