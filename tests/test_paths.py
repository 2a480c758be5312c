from pathlib import Path

import pytest

from autoresearch.paths import Cache, Layout, checkout_lock


def test_a_night_lies_below_runs() -> None:
    layout = Layout(Path("/checkout"), "nov23")
    assert layout.source(7) == Path("/checkout/runs/nov23/0007/train_mlx.py")
    assert layout.run(7, 2) == Path("/checkout/runs/nov23/0007/run-3")
    assert layout.journal == Path("/checkout/runs/nov23/journal.jsonl")
    assert checkout_lock(layout.root) == Path("/checkout/runs/.lock")


def test_no_two_names_of_a_night_are_one_path() -> None:
    layout = Layout(Path("/checkout"), "t")
    names = [name for name, value in vars(Layout).items() if isinstance(value, property)]
    paths = [getattr(layout, name) for name in names]
    assert len(set(paths)) == len(names) > 10


@pytest.mark.parametrize(
    ("given", "expected"), [("/somewhere", "/somewhere"), ("", "/home/x/.cache/autoresearch-metal")]
)
def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, given: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setenv("AUTORESEARCH_CACHE", given)
    assert Cache.default().folder == Path(expected)
    assert Cache.default().noise("m4") == Path(expected) / "machines" / "m4" / "noise.json"


def test_a_data_folder_knows_its_cache_and_names_its_files() -> None:
    data = Cache(Path("/cache")).data("climbmix", "mac")
    assert (data.dataset, data.profile, data.cache) == ("climbmix", "mac", Cache(Path("/cache")))
    assert data.name(data.rows("train")) == "train.u16" and data.name(data.rows("val")) == "eval/val.u16"
