import pytest


def test_login(users):
    assert users.login("ann@example.org", "correct horse")


def test_a_wrong_password(users):
    assert not users.login("ann@example.org", "correct house")


def test_capitals_of_an_address_do_not_matter(users):
    assert users.login("Ann@Example.org", "correct horse")


def test_an_address_is_taken_once(users):
    with pytest.raises(ValueError, match="taken"):
        users.register("ANN@example.org", "another password")


def test_a_short_password(users):
    with pytest.raises(ValueError, match="at least 8"):
        users.register("bob@example.org", "1234567")


def test_eight_characters_are_enough(users):
    users.register("bob@example.org", "12345678")
    assert users.login("bob@example.org", "12345678")


def test_three_failures_lock(users):
    for _ in range(3):
        users.login("ann@example.org", "wrong password")
    assert not users.login("ann@example.org", "correct horse")


def test_two_failures_are_forgotten(users):
    for _ in range(2):
        for _ in range(2):
            users.login("ann@example.org", "wrong password")
        assert users.login("ann@example.org", "correct horse")
