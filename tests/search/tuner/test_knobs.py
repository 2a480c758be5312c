"""Axes of any task's constants: declared ranges and choices, and what values suggest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.candidate.pack import pack
from autoresearch.search.tuner import knobs
from autoresearch.search.tuner.axes import Axis

UI = """\
headline = "features"
button_px = 14
wait_s = 0.5
popup = true
rate = 0.001
weights = [1.0, 2.5]
seed = 7
name = "x"
"""


def axes(toml: str, declared: dict[str, Any], categories: tuple[str, ...] = ()) -> dict[str, Axis]:
    return {axis.name: axis for axis in knobs.axes(pack({"ui.toml": toml}), declared, categories)}


def test_without_declarations_numbers_and_switches_are_searched() -> None:
    found = axes(UI, {})
    assert list(found) == ["button_px", "wait_s", "popup", "rate", "weights[0]", "weights[1]"]  # no text, no seed
    assert found["button_px"].grid[0] == 4 and found["button_px"].grid[-1] == 56
    assert found["popup"].grid == (False, True)
    assert not any(axis.minor or axis.declared for axis in found.values())


@pytest.mark.parametrize("number", ["inf", "nan", "1e308", "1e-320", "-1e200", "1" + 400 * "0"])
def test_a_number_that_no_power_can_hold_is_left_alone(number: str) -> None:
    toml = f"x = 3\nbig = {number}\n"
    found = axes(toml, {"big": [1, 9], "x": [1, 9]})
    assert list(found) == ["x"] == list(axes(toml, {}))
    assert not found["x"].admits(float(number))


def test_what_is_declared_is_searched_and_the_rest_is_minor() -> None:
    declared = {"headline": ["benefit", "question"], "button_px": [10, 48], "weights[1]": [0, 1.5], "seed": [1, 2, 3]}
    found = axes(UI, declared)
    assert found["headline"].grid == ("benefit", "question", "features")
    assert found["button_px"].grid == tuple(range(10, 49)) and not found["button_px"].minor
    assert (found["weights[1]"].low, found["weights[1]"].high) == (0, 2.5)  # the present value stays in reach
    assert found["seed"].grid == (1, 2, 3, 7)
    assert {name for name, axis in found.items() if axis.minor} == {"wait_s", "popup", "rate", "weights[0]"}


def test_a_knob_is_of_the_file_that_it_names() -> None:
    source = pack({"a.toml": "size = 3\n", "b.json": '{"size": 3}'})
    found = {axis.name: axis for axis in knobs.axes(source, {"b.json:size": [1, 4], "size": [2, 6]}, ())}
    assert found["b.json:size"].grid == (1, 2, 3, 4) and found["a.toml:size"].grid == (2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("line", "spec", "ends", "scale"),
    [
        ("x = 10", (1, 100_000), (1, 100_000), "log"),
        ("x = 10", (5, 12), (5, 12), "linear"),
        ("x = 10.0", (1, 12), (1.0, 12.0), "log"),
        ("x = 0.003", (0.0, 0.01), (0.0, 0.01), "linear"),
        ("x = 0.003", (0.0001, 0.01), (0.0001, 0.01), "log"),
        ("x = 10", (1.5, 12.5), (2, 12), "linear"),
        ("x = -2.0", (-3, 3), (-3.0, 3.0), "linear"),
        ("x = 8", (1, 2, 4, 8, 16), (1, 16), "log"),
    ],
)
def test_a_range_is_searched_from_end_to_end(
    line: str, spec: tuple[float, ...], ends: tuple[Any, Any], scale: str
) -> None:
    axis = axes(line + "\n", {"x": spec})["x"]
    assert (axis.at(axis.low), axis.at(axis.high), axis.scale) == (*ends, scale)
    assert type(axis.at(axis.low)) is type(axis.value)


numbers = st.integers(-1000, 1000) | st.floats(-1000, 1000).map(lambda x: round(x, 4))


@given(
    numbers,
    st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1]),
    st.floats(-2000, 2000),
    st.floats(-9, 9),
)
def test_no_value_is_outside_of_what_was_declared(
    value: float, ends: tuple[float, float], at: float, steps: float
) -> None:
    low, high = sorted(ends)
    axis = axes(f"x = {value!r}\n", {"x": ends}).get("x")
    if axis is None:  # no whole number lies between the ends
        assert isinstance(value, int) and not any(low <= n <= high for n in range(-1000, 1001) if n != value)
        return
    assert min(low, value) <= axis.at(at) <= max(high, value)
    moved = axis.moved(axis.value, steps)
    assert moved is None or (min(low, value) <= moved <= max(high, value) and moved != axis.value)


@pytest.mark.parametrize("value", ["0", "0.0", "-3", "-0.5", "1", "0.7", "1e-9", "123456789", "true"])
def test_any_value_can_be_moved(value: str) -> None:
    axis = axes(f"x = {value}\n", {})["x"]
    if axis.scale != "choice":
        assert any(axis.moved(axis.value, step) not in (None, axis.value) for step in (-1, 1))
        assert axis.coordinate(axis.value) == pytest.approx(
            axis.coordinate(axis.at(axis.coordinate(axis.value))), abs=0.02
        )


def test_a_share_lies_between_0_and_1() -> None:
    axis = axes("min_ratio = 0.8\n", {})["min_ratio"]
    assert (axis.low, axis.high, axis.scale) == (0.0, 1.0, "linear")


def test_a_category_is_a_word_of_the_name() -> None:
    found = axes("[cache]\nsize = 3\n[other]\nsize = 2\n", {}, ("cache", "index"))
    assert [axis.category for axis in found.values()] == ["cache", "other"]


def test_what_has_no_single_place_is_not_searched() -> None:
    source = pack({"a.py": "N = 1\nM = 2\nN = 3\n", "b.json": '{"k": 1, "k": 2, "l": 3}'})
    assert [axis.name for axis in knobs.axes(source, {}, ())] == ["M", "l"]
