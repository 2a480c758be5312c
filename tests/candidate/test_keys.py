"""Keys of documents as constants: names, hashes and counts."""

from __future__ import annotations

import pytest

from autoresearch.candidate import keys
from autoresearch.errors import EditError

DOCUMENT = {"a": {"b": 1, "c d": {"é": True}}, "list": [1, 2], "rules": [{"x": 1}], "big": 2**200, "nan": float("nan")}


def test_a_key_is_named_by_its_place_and_only_settings_are() -> None:
    assert [name for name, _, _ in keys.named(DOCUMENT)] == ["a.b", 'a."c d"."\\u00e9"', "list"]


def test_a_name_with_dots_is_no_path() -> None:
    names = [name for name, _, _ in keys.named({"a.b": 1, "a": {"b": 2}})]
    assert len(set(names)) == 2


def test_a_list_of_strings_may_have_any_length() -> None:
    assert keys.checked("words", "['x', 'y', 'z']", {"words": ["a"]}, None) == ["x", "y", "z"]
    assert keys.checked("words", "[]", {"words": ["a"]}, []) == []
    with pytest.raises(EditError, match="a list of 1"):
        keys.checked("sizes", "[1, 2]", {"sizes": [1]}, [1, 2])


def test_the_order_of_keys_counts_and_values_do_not_where_they_are_blanked() -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert keys.digest(one, blank=False) != keys.digest(other, blank=False)
    assert keys.digest(one, blank=True) == keys.digest({"a": "x", "b": 2.5}, blank=True)
    assert keys.digest({"a": 1}, blank=False) != keys.digest({"a": True}, blank=False)


def test_count() -> None:
    assert keys.count({"a": 1, "b": {"c": [1, 2]}}) == 5
