"""Patches between versions: they make the wanted version, stay small, and apply to other versions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.candidate import constants, edits, patches
from autoresearch.candidate.pack import pack, unpack
from autoresearch.errors import EditError, SourceError
from autoresearch.records import Edit, SearchReplace, Set, WholeFile
from testbed.honest import BASE, EDITS, edited


@pytest.mark.parametrize("name", EDITS)
def test_a_patch_leads_to_the_new_version(name: str) -> None:
    child = edited(EDITS[name])
    patch = patches.derive(BASE, child)
    assert constants.normalised(edits.apply(BASE, patch.edits)) == constants.normalised(child)
    assert (patch.code is None) == (constants.structure(BASE) == constants.structure(child))
    moved = sum(len(e.search) + len(e.replace) for e in patch.edits if isinstance(e, SearchReplace))
    assert moved < len(BASE)  # a patch is smaller than the file


def test_constants_are_set_and_named() -> None:
    child = BASE.replace("DEPTH = 2 ", "DEPTH = 2**2 ").replace("LR = 0.01", "LR = 2e-2")
    patch = patches.derive(BASE, child)
    assert patch.edits == (Set("DEPTH", "2**2"), Set("LR", "2e-2"))
    assert patch.constants == {"DEPTH": ("2", "2**2"), "LR": ("0.01", "2e-2")}
    assert patch.touches == () and patch.code is None


def test_another_spelling_or_comment_is_no_change() -> None:
    same = BASE.replace("DEPTH = 2  # layers", "DEPTH = 2**1  # how deep").replace(
        "HEADS = 2  # attention heads", "HEADS = 2"
    )
    with pytest.raises(EditError, match="do not differ"):
        patches.derive(BASE, same)


def test_comments_are_left_out_of_a_patch() -> None:
    child = BASE.replace("LR = 0.01  # peak learning rate", "# the peak\nLR = 0.02").replace("# layers", "# how deep")
    assert patches.derive(BASE, child).edits == (Set("LR", "0.02"),)


def test_a_change_of_type_is_a_block() -> None:
    child = BASE.replace("DEPTH = 2 ", 'DEPTH = "two" ')
    patch = patches.derive(BASE, child)
    assert isinstance(patch.edits[0], SearchReplace) and patch.constants == {"DEPTH": ("2", '"two"')}
    assert constants.read(edits.apply(BASE, patch.edits))["DEPTH"] == "two"


def test_indentation_alone_is_a_change() -> None:
    old = "X = 1\n\n\ndef f(a):\n    if a:\n        a = 2\n        b = 3\n    return a\n"
    new = old.replace("        b = 3", "    b = 3")
    assert edits.apply(old, patches.derive(old, new).edits) == new


def test_a_patch_knows_itself_on_another_base() -> None:
    """In a file that has changed since, the patch applies, and the same change has the same hash."""
    other = edited(EDITS["deeper"]).replace("LR = 0.01", "LR = 0.5").replace("norm(x):", "norm(x):  # root mean square")
    old, new = "mx.square(nn.relu(self.fc(x)))", "nn.gelu(self.fc(x))"
    here, there = patches.derive(BASE, BASE.replace(old, new)), patches.derive(other, other.replace(old, new))
    assert here.code == there.code is not None and here.touches == there.touches == ("MLP.__call__",)
    assert edits.apply(other, here.edits) == other.replace(old, new)
    different = patches.derive(BASE, BASE.replace(old, "nn.silu(self.fc(x))"))
    assert different.code != here.code


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(EDITS)), st.sampled_from(sorted(EDITS)))
def test_a_patch_for_another_incumbent_applies_or_says_why(name: str, before: str) -> None:
    """Either all that the patch adds is there afterwards, or it does not apply and the error says why."""
    patch = patches.derive(BASE, edited(EDITS[name]))
    try:
        result = edits.apply(edited(EDITS[before]), patch.edits)
    except EditError as error:
        assert str(error)
        return
    for edit in patch.edits:
        if isinstance(edit, SearchReplace):
            wanted = [line.strip() for line in edit.replace.split("\n") if line.strip() and "=" not in line]
            assert all(line in result for line in wanted)
        else:
            assert constants.literals(result)[edit.name] == edit.literal


def test_a_block_that_an_earlier_one_would_double_is_widened() -> None:
    old = "def f():\n    a()\n    b()\n\n\ndef g():\n    a()\n    c()\n"
    new = "def f():\n    a()\n    c()\n\n\ndef g():\n    a()\n    d()\n"
    assert edits.apply(old, patches.derive(old, new).edits) == new


def test_a_version_that_is_not_python() -> None:
    with pytest.raises(SourceError):
        patches.derive(BASE, BASE + "def f(:\n")


# --- several files ----------------------------------------------------------------------------------------------------

SEVERAL = pack(
    {
        "run.py": "LIMIT = 8\n\n\ndef f():\n    return 1\n",
        "c.toml": "size = 10 # MB\n",
        "q.sql": "SELECT 1;\n",
        "e.css": "",
    }
)


@pytest.mark.parametrize(
    ("files", "edits_", "touches"),
    [
        ({"c.toml": "size = 20 # MB\n"}, (Set("size", "20"),), ()),
        ({"q.sql": "SELECT 2;\n"}, (SearchReplace("SELECT 1;", "SELECT 2;", "q.sql"),), ("q.sql",)),
        (
            {"run.py": "LIMIT = 9\n\n\ndef f():\n    return 2\n", "q.sql": "SELECT 2;\n"},
            (
                SearchReplace("    return 1", "    return 2", "run.py"),
                SearchReplace("SELECT 1;", "SELECT 2;", "q.sql"),
                Set("LIMIT", "9"),
            ),
            ("run.py:f", "q.sql"),
        ),
        ({"e.css": "a { }\n"}, (WholeFile("a { }\n", "e.css"),), ("e.css",)),
    ],
)
def test_the_patch_of_several_files(files: dict[str, str], edits_: tuple[Edit, ...], touches: tuple[str, ...]) -> None:
    child = pack({**unpack(SEVERAL), **files})
    patch = patches.derive(SEVERAL, child)
    assert (patch.edits, patch.touches) == (edits_, touches)
    assert edits.apply(SEVERAL, patch.edits) == child
