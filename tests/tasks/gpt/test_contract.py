"""The contract: honest research passes, shortcuts do not, and no text makes it raise."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare
from autoresearch.tasks.gpt import contract
from testbed.honest import BASE, EDITS, edited
from testbed.toy import HONEST, ROOT

pytestmark = pytest.mark.usefixtures("uncompiled")

TASK = prepare.Task("toy", "tiny", "f" * 16, 16, 48, 47, 256, 4, 1.0)


def messages(source: str, baseline: str | None = BASE) -> list[str]:
    return [str(v) for v in contract.check(source, baseline)]


class TwoSteps:
    """Run that ends after two steps."""

    task, seed, progress = TASK, 3, 0.25

    def __init__(self) -> None:
        self.logged: list[float] = []

    def warmup_batch(self, rows: int, seq_len: int | None = None) -> tuple[mx.array, mx.array]:
        x, y = mx.array(np.random.default_rng(0).integers(0, 48, (2, rows, seq_len or 16), dtype=np.int32))
        return x, y

    def batches(self, rows: int, seq_len: int | None = None) -> Iterator[tuple[mx.array, mx.array]]:
        return iter([self.warmup_batch(rows, seq_len)] * 2)

    def log(self, step: int, loss: mx.array) -> None:
        self.logged.append(loss.item())


def test_there_are_a_hundred_honest_edits() -> None:
    assert len(EDITS) >= 100
    assert messages(BASE) == [] and messages(BASE, None) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_an_honest_edit_passes_and_trains(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = edited(EDITS[name])
    assert messages(source) == []
    module = types.ModuleType("candidate")
    monkeypatch.setitem(sys.modules, "candidate", module)  # dataclasses look their module up
    exec(compile(source, "train_mlx.py", "exec", dont_inherit=True), module.__dict__)
    mx.random.seed(0)
    model, run = module.build_model(TASK), TwoSteps()
    assert isinstance(model, nn.Module)
    module.train(model, run)
    assert len(run.logged) >= 1 and all(np.isfinite(run.logged))
    assert model(run.warmup_batch(2)[0]).shape == (2, 16, 48)


REFUSED = {  # a line appended to the baseline, or an edit of it -> what the message must say
    "import os": "no use for files",
    "import time": "run.progress",
    "import torch": "MLX file",
    "import subprocess": "modules on offer are",
    "import mlx.core.distributed as d": "not allowed",
    "from os import path": "not allowed",
    "from . import other": "relative",
    "from mlx.core import *": "one by one",
    "from mlx.core import load": "harness saves and loads",
    "from prepare import evaluate_bpb": "of prepare use only",
    "from prepare import _tail": "private",
    "def f():\n    import inspect": "not allowed",
    "def f(c):\n    return getattr(c, 'x', 0)": "config.n_head",
    "def f(c):\n    setattr(c, 'x', 0)": "assign the attribute",
    "def f(c):\n    delattr(c, 'x')": "set it to None",
    "def f():\n    return globals()": "constants",
    "def f():\n    return locals()": "variables",
    "def f(c):\n    return vars(c)": "attributes",
    "def f():\n    return [eval(t) for t in ('1',)]": "mx.eval",
    "def f():\n    exec('1')": "write the code itself",
    "def f():\n    return compile('1', '', 'eval')": "mx.compile",
    "def f():\n    return open('/etc/passwd').read()": "run.batches",
    "def f(path):\n    with open(path) as file:\n        return file.read()": "run.batches",
    "def f():\n    return __import__('os')": "import statement",
    "def f():\n    return __builtins__": "internals",
    "def f():\n    return __file__": "internals",
    "def f():\n    input('?')": "nobody is there",
    "def f():\n    breakpoint()": "nobody is there",
    "def f():\n    exit(0)": "return from the function",
    "read = open": "run.batches",
    "class A:\n    def __init__(self):\n        self._fingerprint = 0": "take another name",
    "def f(r):\n    match r:\n        case prepare.Run(_emit=e):\n            return e": "in a pattern is private",
    "def f():\n    return print.__self__": "internals",
    "mx.fast.rms_norm = None": "belongs to a library",
    "nn.Linear.__call__ = None": "belongs to a library",
    "nn.Module.parameters = lambda self: {}": "belongs to a library",
    "prepare.cross_entropy = lambda a, b: 0": "belongs to a library",
    "def f():\n    math.pi = 3": "belongs to a library",
    "def f():\n    nn.Linear.__call__ += 1": "belongs to a library",
    "def f():\n    del mx.fast.rope": "belongs to a library",
    "def f():\n    for mx.pi in (3,):\n        pass": "belongs to a library",
    "fast = mx.fast\n\n\ndef f():\n    fast.rope = None": "belongs to a library",
    "def f(model):\n    type(model).__call__ = None": "changes a class",
    "def f(model):\n    model.__class__.parameters = None": "changes a class",
    "def f():\n    return ().__class__.__bases__[0].__subclasses__()": "internals",
    "def f(g):\n    return g.__globals__": "internals",
    "def f(g):\n    return g.gi_frame.f_back": "internals",
    "def f(x):\n    object.__setattr__(x, 'a', 1)": "internals",
    "def f(run):\n    return run._clock": "sets on self",
    "def f():\n    return np_like._core": "sets on self",
    "def f():\n    return mx._x": "sets on self",
    "def f(m):\n    m.save_weights('w')": "harness saves and loads",
    "def f(m):\n    m.load_weights('w')": "harness saves and loads",
    "def f(x):\n    mx.save('x', x)": "harness saves and loads",
    "def f(x):\n    mx.save_safetensors('x', {'x': x})": "harness saves and loads",
    "def f():\n    return mx.load('x')": "harness saves and loads",
    "load = mx.load": "harness saves and loads",
    "def f(g, x):\n    mx.export_function('x', g, x)": "harness saves and loads",
    "def f(x):\n    mx.export_to_dot('x', x)": "harness saves and loads",
    "import numpy as np\n\n\ndef f():\n    return np.memmap('x')": "harness saves and loads",
    "import numpy as np\n\n\ndef f():\n    return np.load('x')": "harness saves and loads",
    "import numpy as np\n\n\ndef f(x):\n    np.array(x).tofile('x')": "harness saves and loads",
    "import numpy as np\n\n\ndef f():\n    return np.lib.format.open_memmap('x')": "harness saves and loads",
    "from numpy import fromfile": "harness saves and loads",
    "import numpy.ctypeslib": "not allowed",
    "def f():\n    return mx.distributed.init()": "no network",
    "def f():\n    mx.metal.start_capture('x')": "harness saves and loads",
    "def f():\n    mx.random.seed(1337)": "lucky seed",
    "def f():\n    mx.reset_peak_memory()": "harness's reading",
    "import contextlib\n\n\ndef f():\n    contextlib.os.remove('x')": "offers no such name",
    "import dataclasses\n\n\ndef f():\n    return dataclasses.sys.modules": "offers no such name",
    "import operator\n\n\ndef f(x):\n    return operator.attrgetter('a')(x)": "the attribute itself",
    "import types\n\n\ndef f():\n    return types.CodeType": "offers no such name",
    "def f():\n    return prepare.evaluate_bpb": "of prepare use only",
    "def f():\n    return prepare.os.environ": "of prepare use only",
    "def f():\n    return prepare.main(build_model, train)": "only under",
    "def f(g):\n    return g(prepare)": "handed on",
    "from prepare import main\n\n\ndef f():\n    return main(build_model, train)": "only under",
    "print('hello')": "runs at import",
    "for i in range(3):\n    LAST = i": "runs at import",
    "while True:\n    pass": "runs at import",
    "with mx.stream(mx.cpu):\n    pass": "runs at import",
    "X = mx.random.normal((2,))": "after the harness has seeded",
    "LAYER = nn.Linear(2, 2)": "after the harness has seeded",
    "MODEL = GPT(Config(48))": "after the harness has seeded",
    "MODEL = build_model(Config(48))": "after the harness has seeded",
    "def fit():\n    return mx.grad(norm)(1)\n\n\nG = fit()": "uses mlx.core.grad",
    "def fit():\n    return mx.grad(norm)\n\n\ndef outer():\n    return fit()\n\n\nG = [outer()]": "uses mlx.core.grad",
    "slope = mx.grad(norm)\nG = slope(mx.ones(2))": "uses mlx.core.grad",
    "def f(x, layer=nn.Linear(2, 2)):\n    return x": "after the harness has seeded",
    "class Later(nn.Module):\n    layer = nn.Linear(2, 2)": "after the harness has seeded",
    "def build_model(task):\n    return None": "defined twice",
    "train = None": "defined twice",
    "if DEPTH:\n    from mlx.nn import relu as train": "defined twice",
    "x = 1 +": "not valid Python",
    "return 3": "not valid Python",
    "x = 0777": "not valid Python",
}


@pytest.mark.parametrize("extra", REFUSED)
def test_a_shortcut_is_refused_with_a_reason(extra: str) -> None:
    found = contract.check(BASE + extra + "\n", BASE)
    assert any(REFUSED[extra] in v.message for v in found), found
    first = BASE.count("\n") + 1
    assert all(v.line >= first or v.line == 0 for v in found), "blames the new lines"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("def build_model(task):", "def build_model(task, seed=0):", "signature is fixed"),
        ("def build_model(task):", "def build_model(config):", "signature is fixed"),
        ("def build_model(task):", "def make_model(task):", "build_model(task) is missing"),
        ("def train(model, run):", "def train(model, *run):", "signature is fixed"),
        ("def train(model, run):", "async def train(model, run):", "plain function"),
        ("def train(model, run):", "class train:\n  def go(model, run):", "plain function"),
        ("        previous = loss\n", "        previous = loss\n        yield step\n", "generator"),
        ("run.progress", "run.elapsed", "run offers only"),
        ("    previous = None\n", "    previous = None\n    run.progress = 0\n", "belongs to the harness"),
        ("    previous = None\n", "    previous = None\n    run.task.budget_s = 600\n", "belongs to the harness"),
        ("    previous = None\n", "    previous = None\n    r = run\n    r.batches = None\n", "belongs to the harness"),
        ("    previous = None\n", "    previous = None\n    run.log = lambda *a: None\n", "belongs to the harness"),
        ("    previous = None\n", "    previous = run._data\n", "is private"),
        ("    previous = None\n", "    import copy\n    previous = copy.copy(run)\n", "one run, and one clock"),
        ("    config = Config", "    task.seq_len = 8\n    config = Config", "belongs to the harness"),
        ('if __name__ == "__main__":\n    raise SystemExit(prepare.main(build_model, train))\n', "", "keep the end"),
        ("import math", "import os", "no use for files"),
    ],
)
def test_an_edit_of_the_interface_is_refused(old: str, new: str, says: str) -> None:
    found = messages(edited([(old, new)]))
    assert any(says in m for m in found), found


def test_the_size_is_limited_in_bytes() -> None:
    room = contract.MAX_BYTES - len(BASE) - len("# \n")
    assert messages(BASE + "# " + "x" * room + "\n") == []
    assert messages(BASE + "# " + "é" * room + "\n") == [
        f"the file has {28000 + room:,} bytes and may have 28,000: shorten it by {room:,}"
    ]


def test_what_the_baseline_uses_is_granted() -> None:
    uses = "import time\n\n\ndef f():\n    return time.monotonic(), prepare.task(), mx.load('x')\n"
    assert len(messages(BASE + uses)) == 3
    assert messages(BASE + uses, BASE + uses) == []
    assert messages(BASE + uses + "prepare.x = 1\n", BASE + uses + "prepare.x = 1\n") != []


def test_a_broken_baseline_grants_nothing() -> None:
    assert messages(BASE, "def (") == []


@pytest.mark.slow
def test_the_trainer_keeps_the_contract() -> None:
    source = (ROOT / "train_mlx.py").read_text()
    assert messages(source, source) == [] and messages(source, None) == []


def test_the_honest_toy_keeps_the_contract() -> None:
    source = HONEST.read_text()
    assert messages(source, source) == []


def test_deep_nesting_is_answered() -> None:
    assert messages("x = " + "(" * 5000 + ")" * 5000) != []
    assert messages("x = " + "+".join(["1"] * 2000)) != []
    assert messages("x = " + "-" * 3000 + "1") != []


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_makes_it_raise(text: str) -> None:
    for v in contract.check(text, text):
        assert v.line >= 0 and v.message and str(v)


@pytest.mark.slow
@given(st.integers(0, len(BASE)), st.integers(0, 60), st.text(alphabet="()[]:.,=*@ \n_xmr'\"", max_size=6))
@settings(max_examples=150, deadline=None)
def test_no_damage_makes_it_raise(at: int, cut: int, put: str) -> None:
    contract.check(BASE[:at] + put + BASE[at + cut :], BASE)
