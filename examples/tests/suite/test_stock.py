import pytest


def test_taking_leaves_less(stock):
    stock.take(100, 5)
    assert stock.pieces(100) == 6


def test_all_can_be_taken(stock):
    stock.take(20, 21)
    assert stock.pieces(20) == 0


def test_no_more_than_all_can_be_taken(stock):
    with pytest.raises(ValueError, match="only 21"):
        stock.take(20, 22)


def test_putting_back(stock):
    stock.take(30, 4)
    stock.put_back(30, 3)
    assert stock.pieces(30) == 30


def test_search(stock):
    assert "item 00250" in stock.search("250")


def test_search_is_sorted(stock):
    found = stock.search("item 0001")
    assert len(found) == 10 and found == sorted(found)


def test_scarce(stock):
    for item in range(1, 4):
        stock.take(item, item + 1)
    assert stock.scarce(1) == 3
