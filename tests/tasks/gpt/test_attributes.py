"""Attributes, in every form that Python has to read or set one."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.tasks.gpt import allowlist, contract
from autoresearch.tasks.gpt.names import NameChecker
from testbed.honest import SMALLEST

READS = (  # ways to read the attribute {a} of x
    "x.{a}", "(lambda y: y.{a})(x)", "[y.{a} for y in x]", "f'{{x.{a}}}'", "f'{{1:{{x.{a}}}}}'",
    "'{{0.{a}}}'.format(x)",
    "'{{x[0].{a}}}'.format(x=x)", "'{{:{{0.{a}}}}}'.format(x)", "'{{x.{a}}}'.format_map(dict(x=x))",
    "str.format('{{0.{a}}}', x)", "list(map('{{.{a}}}'.format, x))", "dict({a}=x)[\"{a}\"]", "{{'{a}': x}}",
)  # fmt: skip
STATEMENTS = (
    "match x:\n    case object({a}=y): return y", "match x:\n    case [object({a}=y), *_]: return y",
    "match x:\n    case dict() | object({a}=_): return 1", "class C:\n    {a} = 1", "class C:\n    {a}: int",
    "class C:\n    def {a}(self): pass", "class C:\n    for {a} in (): pass", "class C:\n    ({a} := 1)",
    "class C:\n    def f(self): self.{a} = 1", "def g(y=x.{a}): pass", "def g(y: x.{a}): pass", "y: x.{a} = 1",
    "with x.{a} as y: pass", "try: pass\nexcept x.{a}: pass", "class C(x.{a}): pass", "@x.{a}\ndef g(): pass",
    "for y in x.{a}: pass", "del x.{a}", "x.{a} += 1", "while x.{a}: pass", "assert x.{a}", "raise x from x.{a}",
    "async def g():\n    async for y in x.{a}: pass", "async def g():\n    await x.{a}", "lambda y=x.{a}: y",
)  # fmt: skip
NAMES = ("gi_frame", "f_back", "tb_frame", "cr_frame", "ag_frame", "__globals__", "__subclasses__", "__traceback__")


def refused(lines: str) -> list[str]:
    source = f"{SMALLEST}\n\n\ndef f(x, t):\n" + "".join(f"    {line}\n" for line in lines.split("\n"))
    found = [str(v) for v in contract.check(source)]
    assert not any("not valid Python" in v for v in found), found
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_internal_attribute_is_refused_in_every_form(name: str) -> None:
    for form in READS:
        assert refused(f"return {form.format(a=name)}"), form
    for form in STATEMENTS:
        assert refused(form.format(a=name)), form


REFUSED = (
    "return t.format(x)",  # what the fields name is not known
    "return (t + '{0}').format(x)",
    "class P:\n    __match_args__ = ('a',)",
    "match x:\n    case Config(e): return e",  # reads whatever __match_args__ names
    "try: mx.nothing\nexcept AttributeError as error: return error.obj",
    "class C:\n    def __exit__(self, kind, error, frames): return frames.tb_frame",
    "class C:\n    def __getattribute__(self, name): return super().__getattribute__(name)",
    "class C:\n    def __setattr__(self, name, v): object.__setattr__(self, name, v)",
    "class C(nn.Module):\n    def f(self): return super().__getattr__('x')",
    "class C:\n    def __reduce_ex__(self, p): return (list, ())",
    "class C:\n    def __del__(self): pass",
    "class C:\n    __array_interface__ = {}",
    "class C:\n    _emit = None",
    "class C:\n    _module = None",
    "import enum\nclass E(enum.Enum):\n    _convert_ = 1",
    "import warnings\nreturn warnings.catch_warnings()._module",
    "return x.ctypes.strides",
    "return x.bit_generator.cffi",
    "return print.__self__",
    "x.dump('file')",
    # stores on what is not the candidate's own
    "x.__call__ = None",
    "x.__class__ = int",
    "x.__dict__['a'] = 1",
    "for c in (nn.Linear, nn.Embedding): c.parameters = None",
    "[mx.array][0].sum = None",
    "(c := mx.array).sum = None",
    "(nn.Module if t else nn.Linear).parameters = None",
    "t = type(x)\nt.sum = None",
    "x.__class__.sum = None",
    "mx.array.sum = None",
    "del nn.Module.parameters",
    "[0 for mx.array.sum in (1,)]",
    "run = x\nrun.progress = 0",
    "def g(step, run): run.log = None",
    "def g(task): task.budget_s = 9",
    "nn.Module.sum, x = 1, 2",
)


@pytest.mark.parametrize("lines", REFUSED)
def test_a_way_around_is_refused(lines: str) -> None:
    assert refused(lines)


@given(st.text(alphabet="{}[].!:0ab_", max_size=12))
def test_no_format_string_makes_it_raise(text: str) -> None:
    tree = ast.parse(f"print({text!r}.format(1))")
    assert all(line == 1 and message for line, message in NameChecker(tree, None).found)


def test_what_may_be_read_may_also_be_defined() -> None:
    assert allowlist.DUNDERS <= allowlist.DEFINED_DUNDERS
    assert not allowlist.DEFINED_DUNDERS & {
        "__match_args__",
        "__reduce__",
        "__dict__",
        "__array_interface__",
        "__del__",
    }
