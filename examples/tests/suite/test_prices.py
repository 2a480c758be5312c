import pytest
from shop import prices


@pytest.mark.parametrize(("net", "gross"), [(100, 119), (1000, 1190), (50, 60), (0, 0)])
def test_gross(net, gross):
    assert prices.gross(net) == gross


@pytest.mark.parametrize(("pieces", "price"), [(9, 1000), (10, 950), (49, 950), (50, 900)])
def test_discount(pieces, price):
    assert prices.discounted(1000, pieces) == price


def test_total():
    assert prices.total([(1000, 10), (250, 2)]) == 10_000


def test_letters_are_free():
    assert prices.shipping(99) == 0


def test_parcels_cost_by_weight():
    assert prices.shipping(2500) == 730


def test_abroad_costs_more():
    assert prices.shipping(500, abroad=True) == 1490


@pytest.mark.parametrize(("text", "cents"), [("12.50", 1250), ("3", 300), (" 0.9 ", 90)])
def test_parse(text, cents):
    assert prices.parse(text) == cents
