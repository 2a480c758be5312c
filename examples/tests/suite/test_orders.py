import pytest


def test_an_order_takes_from_stock(order, stock):
    order.add(60, 11)
    assert stock.pieces(60) == 50


def test_pieces_add_up(order):
    order.add(60, 1)
    order.add(60, 2)
    assert order.items == {60: 3}


def test_net(order):
    order.add(50, 10)
    assert order.net() == 1420


def test_gross(order):
    order.add(100, 2)
    assert order.gross() == 476


def test_cancelling_puts_back(order, stock):
    order.add(60, 11)
    order.become("cancelled")
    assert stock.pieces(60) == 61


def test_what_is_shipped_cannot_be_cancelled(order):
    order.become("paid")
    order.become("shipped")
    with pytest.raises(ValueError, match="shipped cannot become cancelled"):
        order.become("cancelled")


def test_what_is_shipped_can_be_returned(order, stock):
    order.add(70, 7)
    for state in ("paid", "shipped", "returned"):
        order.become(state)
    assert (order.state, stock.pieces(70)) == ("returned", 71)
