"""What a rehearsal on small arrays finds and lets pass. Whole children run in tests/measure/test_preflight.py."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest

from autoresearch.candidate import constants, edits
from autoresearch.search.recipes.recipe import catalogue
from autoresearch.tasks.gpt.children import build, load_candidate
from autoresearch.tasks.gpt.preflight_child import Rehearsal, rehearse, shrink, small
from prepare import Failed, Task
from testbed import honest
from testbed.broken_edits import BROKEN
from testbed.trainer_support import SMALL, SOURCE, TASK, trainer

pytestmark = pytest.mark.usefixtures("uncompiled")

OWN = replace(TASK, seq_len=2048, vocab_size=8192, bos_id=8188)
TINIEST = replace(TASK, seq_len=8, vocab_size=16, bos_id=12)
SCRIPT = SOURCE.read_text()


def fault(source: str, folder: Path, own: Task = OWN) -> str | None:
    """Return "kind: message" of what fails in a rehearsal, or None."""
    path, task = folder / "train_mlx.py", small(own)
    path.write_text(source, "utf-8")
    try:
        module = load_candidate(path, sha256(path.read_bytes()).hexdigest())
        shrink(module, own, task)
        model = build(module, task, 0)
        rehearse(module, model, Rehearsal(task, 0, model, lambda event, **fields: None))
    except Failed as error:
        return f"{error.kind}: {error}"
    except (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_work_is_found(name: str, tmp_path: Path) -> None:
    old, new, said = BROKEN[name]
    assert honest.BASE.count(old) == 1
    found = fault(honest.BASE.replace(old, new), tmp_path)
    assert found is not None and re.search(said, found, re.DOTALL), found


@pytest.mark.slow
def test_honest_edits_pass(tmp_path: Path) -> None:
    with redirect_stdout(io.StringIO()):  # some of them print
        faults = {name: fault(honest.edited(edit), tmp_path, TINIEST) for name, edit in [*honest.EDITS.items()][::6]}
    assert {name: found for name, found in faults.items() if found is not None} == {}


@pytest.mark.slow
def test_each_recipe_passes(tmp_path: Path) -> None:
    start = SCRIPT
    for name, value in SMALL.items():
        start = constants.assign(start, name, repr(value))
    faults = {recipe.name: fault(edits.apply(start, recipe.edits), tmp_path, TINIEST) for recipe in catalogue()}
    assert {name: found for name, found in faults.items() if found is not None} == {}


def test_the_small_task_keeps_what_decides_the_paths_of_the_code() -> None:
    module = trainer(HEAD_DIM=128, ASPECT_RATIO=128, DEPTH=4, TOTAL_BATCH_SIZE=2**15, DEVICE_BATCH_SIZE=8)
    task = small(OWN)
    assert (task.seq_len, task.vocab_size, task.bos_id) == (64, 256, 252)
    shrink(module, OWN, task)
    assert (module.DEPTH, module.HEAD_DIM, module.ASPECT_RATIO) == (4, 64, 64)  # as many layers and heads
    assert module.batch_shape(task.seq_len) == (2, 2)  # gradients accumulate
    assert task.seq_len > 2 * module.QUERY_BLOCK  # attention goes in blocks, as over 2,048 tokens
    assert small(TASK) == TASK  # one that is smaller stays as it is


def test_at_the_tasks_own_size_only_the_batch_is_small() -> None:
    module = trainer(HEAD_DIM=128, ASPECT_RATIO=64, TOTAL_BATCH_SIZE=2**16, DEVICE_BATCH_SIZE=16)
    shrink(module, OWN, OWN)
    assert (module.HEAD_DIM, module.ASPECT_RATIO, module.QUERY_BLOCK) == (128, 64, 128)
    assert module.batch_shape(OWN.seq_len) == (1, 2)


def test_constants_that_are_missing_or_of_another_type_stay() -> None:
    module = ModuleType("train_mlx")
    module.TOTAL_BATCH_SIZE, module.HEAD_DIM = "many", 128.0  # type: ignore[attr-defined]
    shrink(module, OWN, small(OWN))
    assert (module.TOTAL_BATCH_SIZE, module.HEAD_DIM) == ("many", 128.0)  # type: ignore[attr-defined]
    assert not hasattr(module, "ASPECT_RATIO")
