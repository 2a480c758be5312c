"""Imports, and where names are bound and used: a module stands only before a dot, whatever the syntax around it."""

from __future__ import annotations

import pytest

from autoresearch.tasks.gpt import contract
from testbed.honest import SMALLEST

MODULES = ("mx", "np", "math", "mx.fast", "nn.init", "prepare", "mlx.core")
EXPRESSIONS = (
    "[{m}][0]", "({m},)[0]", "{{0: {m}}}[0]", "{{{m}: 0}}", "(lambda m: m)({m})", "(lambda m={m}: m)()", "(m := {m})",
    "({m} or 0)", "({m} if x else 0)", "[m for m in ({m},)][0]", "next(m for m in [{m}])", "[{m} for _ in x]",
    "dict(m={m})['m']", "dict(**{{'m': {m}}})['m']", "partial(print, {m}).args[0]", "print(*[{m}])", "f'{{{m}}}'",
    "'%s' % {m}", "{m} == 0", "not {m}", "{m}[0]", "{m}()", "[*x, {m}]", "(yield {m})",
)  # fmt: skip
STATEMENTS = (
    "for m in ({m},): m.load(x)", "with nullcontext({m}) as m: m.load(x)", "match {m}:\n  case m: m.load(x)",
    "return {m}", "a, b = {m}, 0", "a = b = {m}", "a: object = {m}", "a = {m}\na = 0", "x[0] = {m}", "x.y = {m}",
    "x += {m}", "raise {m}", "assert {m}", "def g(m={m}): return m.load", "class C:\n  m = {m}", "del [{m}][0].x",
    "global M; M = {m}", "class C(nn.Module):\n  def f(self): self.m = {m}",
    # stores, in every form that takes a target
    "{m}.x = 1", "{m}.x += 1", "{m}.x: int = 1", "del {m}.x", "for {m}.x in (1,): pass", "for i, {m}.x in x: pass",
    "with x as {m}.y: pass", "[*x, {m}.x] = 1, 2", "({m}.x, y) = 1, 2", "[0 for {m}.x in x]", "{m}.x[0] = 1",
)  # fmt: skip


def refused(extra: str) -> list[str]:
    source = f"{SMALLEST}\nimport mlx.core\nimport numpy as np\nfrom contextlib import nullcontext\n\n{extra}\n"
    found = [str(v) for v in contract.check(source)]
    assert not any("not valid Python" in v for v in found), found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_module_stands_only_before_a_dot(module: str) -> None:
    for form in EXPRESSIONS:
        assert refused(f"def f(x):\n    return {form.format(m=module)}"), form
    for form in STATEMENTS:
        lines = "".join(f"    {line}\n" for line in form.format(m=module).split("\n"))
        assert refused(f"def f(x, y):\n{lines}"), form


REFUSED = (
    # a name that means something else where it is used than where it is bound
    "if 0:\n    open = 1\ndef f():\n    return open('x')",
    "for eval in ():\n    pass",
    "open = 1\ndel open",
    "def f():\n    global getattr\n    getattr = 1",
    "if 0:\n    __builtins__ = 1",
    "def f():\n    global __builtins__\n    __builtins__ = {}",
    "def f():\n    [mx for mx in ()]\n    return mx.load('x')",
    "def f():\n    [open for open in ()]\n    return open('x')",
    "def f():\n    {mx: 1 for mx in ()}\n    return mx.load('x')",
    "def f():\n    [(lambda: (mx := 1)) for _ in ()]\n    return mx.load('x')",
    "class C:\n    [mx for mx in ()]\n    x = mx.load",
    "def f(mx):\n    def g():\n        global mx\n        return mx.load('x')",
    "def f():\n    open = 1\n    class C:\n        x = open('/etc/passwd')\n        open = 2",
    "def f():\n    mx = 1\n    class C:\n        x = mx.load('x')\n        mx = 2",
    "class C:\n    import numpy as inner",
    "class C:\n    if 1:\n        from mlx import core",
    "def f():\n    global m\n    import numpy as m",
    "import numpy as m\nimport mlx.core as m",
    "if DEPTH:\n    import numpy as m\nelse:\n    import math as m",
    "def f():\n    import math as m\n    import mlx.core as m",
    "fast = mx.fast\ndef f():\n    global fast\n    fast = 1",
    "fast = mx.fast\nfast = mx.random",
    "LINE = '{}'\ndef f(LINE, x):\n    return LINE.format(x)",
    "LINE = '{}'\ndef f(x):\n    LINE = x\n    return LINE.format(x)",
    "def f():\n    line = '{'\ndef g(x):\n    line = '{.gi_frame}'\n    return line.format(x)",
    # classes made without a class statement, or with a metaclass, escape what is said of class bodies
    "def f():\n    return type('X', (), {})",
    "T = type",
    "def f(x):\n    return type(type(x))('X', (), {})",
    "def f(x):\n    make = type(type(x))\n    return make('X', (nn.Module,), dict(a=1))",
    "def f(x):\n    return {'__red' + 'uce_' + 'ex__': x}",
    "def f(t=type):\n    return t('X', (), {})",
    "def f(x: type('X', (), {})):\n    pass",
    "class M(type):\n    pass",
    "import abc\nclass C(metaclass=abc.ABCMeta):\n    pass",
    "class C(**{'metaclass': print}):\n    pass",
    "import dataclasses\ndef f():\n    return dataclasses.make_dataclass('X', ['a'])",
    "import dataclasses\ndef f():\n    dataclasses.dataclass(nn.Module)",
    "def f():\n    return [dataclass][0](nn.Module)",
    # functions of the standard library that read or set attributes by name, or evaluate texts
    "import functools\ndef f(a, b):\n    functools.update_wrapper(a, b, ('gi_code',))",
    "import functools\ndef f(a, b):\n    functools.wraps(b, assigned=('x',))(a)",
    "import functools\nw = functools.wraps",
    "import functools\ndef f(a):\n    return map(functools.wraps, a)",
    "import functools\n@functools.singledispatch\ndef f(x):\n    return x",
    "import typing\ndef f(c):\n    return typing.get_type_hints(c)",
    "from typing import ForwardRef",
    "import contextlib\nclass R(contextlib.redirect_stdout):\n    pass",
    "import enum\n@enum.global_enum\nclass E(enum.Enum):\n    A = 1",
    "import warnings\ndef f():\n    return warnings.formatwarning('', UserWarning, '/etc/passwd', 1)",
    "import operator\ndef f():\n    return [operator.attrgetter][0]('a')",
    "from operator import methodcaller",
    # the harness's own
    "class R(prepare.Run):\n    pass",
    "def f(t):\n    return prepare.Task(*t)",
    "from prepare import Run\ndef f():\n    return Run.batches",
    "from prepare import Run\nR = Run",
    "def f():\n    np.typecodes['All'] = ''",
)  # fmt: skip


@pytest.mark.parametrize("extra", REFUSED)
def test_a_way_around_is_refused(extra: str) -> None:
    assert refused(extra)


PASSES = (
    "def f(layers):\n"
    "    return [type(layer).__name__ for layer in layers if isinstance(layer, (nn.Linear, nn.Embedding))]",
    "def f(layer):\n    return type(layer)(3) if isinstance(layer, nn.Module) and isinstance(type(layer), type) else 0",
    "OPTIMIZERS = {'adam': optim.Adam, 'sgd': optim.SGD}\ndef f(name):\n    return OPTIMIZERS[name](LR)",
    "def make(cls, rate):\n    opt = cls(rate)\n    opt.learning_rate = rate\n    return opt\ndef f():\n"
    "    make(optim.Adam, 1)",
    "def f():\n    for opt in (optim.Adam(1), optim.SGD(1)):\n        opt.learning_rate = 2",
    "opt_class = optim.AdamW if DEPTH > 2 else optim.SGD\ndef f():\n    opt = opt_class(LR)\n    opt.learning_rate = 1",
    "random = mx.random\ndef f():\n    return random.normal((2,))",
    "def f(x):\n    fast = mx.fast\n    return fast.rms_norm(x, None, 1e-5)",
    "def f():\n    return np.zeros(3) if np is not None else None",
    "def f():\n    return np.random.default_rng(0).normal(), np.linalg.norm(np.ones(3)), np.add.reduce([1])",
    "from mlx.nn.layers.base import Module\nclass A(Module):\n    pass",
    "import mlx.nn.losses as losses\ndef f(a, b):\n    return losses.cross_entropy(a, b), nn.layers.linear.Linear",
    "def f(model, opt):\n    return partial(mx.compile, inputs=[model.state, opt.state, mx.random.state])",
    "import functools\ndef logged(g):\n    @functools.wraps(g)\n    def h(*a):\n        return g(*a)\n    return h",
    "@dataclass(frozen=True)\nclass Options:\n    compile: bool = True\n    dtype: mx.Dtype = mx.float32",
    "class A:\n    def __add__(self, other):\n        return self\n    def __getattr__(self, name):\n"
    "        raise AttributeError(name)",
    "LINE = 'step {:5d}'\ndef f(x):\n    print('{0:.3f} {b}'.format(x, b=2), LINE.format(3), f'{x:>{9}}')",
    "def f(x):\n    t = '{}'\n    return t.format(x)\ndef g(x):\n    t = '{:d}'\n    return t.format(x)",
    "def f(x):\n    match x:\n        case int(n) | [n, *_]:\n            return n\n"
    "        case Config(depth=d):\n            return d",
    "def f(x: type[nn.Module], y: list[mx.array]) -> prepare.Task:\n    return x(y)",
    "def wrapper(g):\n    def h(x):\n        return g(x)\n    h.__name__ = g.__name__\n    return h",
    "import collections.abc\ndef f(x):\n    return isinstance(x, collections.abc.Mapping), math.inf, mx.pi",
    "def f(mx):\n    return mx.whatever",
    "def f(model):\n    for layer in model.h:\n        layer.scale = 2.0\n"
    "        layer.attn.heads, layer.width = 4, nn.init.constant(1)",
)  # fmt: skip


@pytest.mark.parametrize("extra", PASSES)
def test_honest_code_passes(extra: str) -> None:
    assert refused(extra) == []
