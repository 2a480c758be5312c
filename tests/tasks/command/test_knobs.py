"""No version sets a declared knob beyond its range, whoever proposed it and however it is written."""

from __future__ import annotations

import pytest

from autoresearch.tasks.command.knobs import violations

BASE = {
    "ui.toml": 'px = 14\nheadline = "a"\nlarge = 90\n[cache]\nweights = [0.1, 0.9]\n',
    "conf.json": '{"wait": {"ms": 5}}',
    "run.py": "ROUNDS = 3\n",
}
KNOBS = {
    "px": (10, 48),
    "headline": ("a", "b"),
    "large": (1, 64),
    "cache.weights[0]": (0.0, 0.5),
    "conf.json:wait.ms": (0, 50),
    "ROUNDS": (1, 8),
}


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("ui.toml", "px = 14", "px = 48", None),
        ("ui.toml", "px = 14", "px = 49", "ui.toml: px is 49 and may be 10 to 48 ([knobs] of task.toml)"),
        ("ui.toml", "px = 14", "px = 1_000.5", "px is 1000.5 and may be 10 to 48"),
        ("ui.toml", "px = 14", "px = nan", "px has to stay one plain value, 10 to 48"),
        ("ui.toml", "px = 14", "px = '14'", "px is '14' and may be 10 to 48"),
        ("ui.toml", "px = 14", "px = [14, 5000]", "px is 5000 and may be"),
        ("ui.toml", '"a"', '"c"', "headline is 'c' and may be one of a, b"),
        ("ui.toml", "[0.1", "[0.6", "cache.weights[0] is 0.6 and may be 0.0 to 0.5"),
        ("ui.toml", "0.9]", "99.0]", None),  # another element, which nobody declares
        ("ui.toml", "large = 90", "large = 90 # as it was", None),  # the baseline's own
        ("ui.toml", "large = 90", "large = 91", "large is 91 and may be 1 to 64"),
        ("conf.json", "5", "51", "wait.ms is 51 and may be 0 to 50"),
        ("conf.json", "5", "NaN", "wait.ms has to stay one plain value"),
        ("conf.json", '{"ms": 5}', "0", None),  # the key is gone
        ("run.py", "3", "9", "ROUNDS is 9 and may be 1 to 8"),
        ("run.py", "3", "int('900')", "ROUNDS has to stay one plain value, 1 to 8"),
        ("run.py", "3", "3\nROUNDS = 900", "ROUNDS has to stay one plain value, 1 to 8"),
        ("run.py", "3", "3\nROUNDS *= 300", "ROUNDS has to stay one plain value, 1 to 8"),
        ("run.py", "ROUNDS = 3", "", None),
        ("run.py", "3", "(", None),  # the contract refuses it
    ],
)
def test_a_knob_stays_within_what_is_declared(path: str, old: str, new: str, said: str | None) -> None:
    changed = BASE[path].replace(old, new)
    assert changed != BASE[path]
    found = list(violations({**BASE, path: changed}, BASE, KNOBS))
    assert len(found) == (said is not None) and all(said in text for text in found if said)


def test_a_knob_of_a_file_that_is_missing_is_not_told_twice() -> None:
    assert list(violations({}, BASE, KNOBS)) == []
