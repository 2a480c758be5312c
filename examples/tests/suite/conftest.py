"""What the tests share. This file may change; the tests stay."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from shop.mail import Mailer
from shop.orders import Order
from shop.stock import Stock
from shop.users import Users

PASSWORD_ROUNDS = 80_000  # of the hash; the shop itself takes 600,000
CATALOGUE_ITEMS = 6_000  # in stock before a test; the tests look for number 250
START_S = 0.1  # seconds that the mailer is given to start
PAUSE_S = 0.04  # seconds after each test, "so that nothing is left over"


@pytest.fixture(autouse=True)
def pause() -> Iterator[None]:
    yield
    time.sleep(PAUSE_S)


@pytest.fixture
def stock() -> Stock:
    """Stock with items 1, 2, 3, ...: "item 00001" costs 101 cents, and there are 1 + n % 90 pieces of it."""
    stock = Stock()
    for n in range(1, CATALOGUE_ITEMS + 1):
        stock.add(f"item {n:05}", 100 + n, 1 + n % 90)
    return stock


@pytest.fixture
def order(stock: Stock) -> Order:
    return Order(stock)


@pytest.fixture
def users() -> Users:
    users = Users(PASSWORD_ROUNDS)
    users.register("ann@example.org", "correct horse")
    return users


@pytest.fixture
def mailer() -> Iterator[Mailer]:
    mailer = Mailer()
    mailer.thread.start()
    time.sleep(START_S)
    yield mailer
    mailer.stop()
