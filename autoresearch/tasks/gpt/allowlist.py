"""List the modules, names and attributes that a candidate may use, and what to write instead of others. No I/O.

contract.py applies these tables.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from functools import cache

PREPARE = frozenset(
    {"Task", "Run", "main", "cross_entropy", "chunked_cross_entropy", "relu_squared", "soft_cap", "attend_in_blocks"}
    | {"attention", "has_fused_attention", "even_streams", "parallel"}
)
RUN = frozenset({"task", "seed", "progress", "warmup_batch", "batches", "log"})

_PURE = (
    *("__future__", "abc", "bisect", "cmath", "collections", "collections.abc", "contextlib", "copy", "dataclasses"),
    *("enum", "fractions", "functools", "heapq", "itertools", "math", "numbers", "operator", "random", "statistics"),
    *("typing", "types", "warnings"),
)  # of the standard library: nothing that reaches files, processes, clocks or the interpreter
_LAYERS = (
    *("activations", "base", "containers", "convolution", "convolution_transpose", "dropout", "embedding", "linear"),
    *("normalization", "pooling", "positional_encoding", "quantized", "recurrent", "transformer", "upsample"),
)
_NUMERIC = (
    *("mlx", "mlx.core", *(f"mlx.core.{n}" for n in ("cuda", "fast", "fft", "linalg", "metal", "random"))),
    *("mlx.nn", "mlx.nn.init", "mlx.nn.layers", "mlx.nn.losses", "mlx.nn.utils", "mlx.utils"),
    *(f"mlx.nn.{place}{name}" for place in ("", "layers.") for name in _LAYERS),
    *("mlx.optimizers", "mlx.optimizers.optimizers", "mlx.optimizers.schedulers"),
    *("numpy", "numpy.fft", "numpy.linalg", "numpy.random", "numpy.typing"),
)
MODULES = frozenset({*_PURE, *_NUMERIC, "prepare"})

_HINTS = {
    "time": "the clock is the harness's; `run.progress` is the share of the budget used, from 0 to 1",
    "os": "a candidate has no use for files, processes or environment; constants stand at the top of the file",
    "sys": "a candidate has no use for the interpreter's internals",
    "torch": "this is an MLX file: use mlx.core, mlx.nn and mlx.optimizers",
    "jax": "this is an MLX file: use mlx.core, mlx.nn and mlx.optimizers",
    "logging": "use print; it goes to the log",
    "threading": "batches come ready from run.batches; MLX computes asynchronously by itself",
    "multiprocessing": "batches come ready from run.batches; MLX computes asynchronously by itself",
    "scipy": "use numpy or mlx.core",
}

REFUSED_BUILTINS = {
    "getattr": "write the attribute itself, as in `config.n_head`",
    "setattr": "assign the attribute itself, as in `self.wte = ...`; use a list for numbered layers",
    "delattr": "leave the attribute, or set it to None",
    "globals": "name the constants that you use",
    "locals": "name the variables that you use",
    "vars": "name the attributes that you use",
    "eval": "write the code itself (mx.eval is allowed)",
    "exec": "write the code itself",
    "compile": "write the code itself (mx.compile is allowed)",
    "open": "data comes only from run.batches, and the harness saves the model",
    "__import__": "use an import statement",
    "input": "nobody is there to answer",
    "breakpoint": "nobody is there to answer",
    "help": "nobody is there to read it",
    "exit": "return from the function, or raise an error",
    "quit": "return from the function, or raise an error",
}

_NO_FILES = "data comes only from run.batches, and the harness saves and loads the model"
_NO_FRAMES = "the file has no need of the interpreter's internals"
_NO_ADDRESSES = "compute with mlx.core and numpy; the file has no need of memory addresses"
FRAMES = frozenset(
    {f"{kind}_{part}" for kind in ("gi", "cr", "ag") for part in ("frame", "code", "await", "yieldfrom", "origin")}
    | {"tb_frame", "tb_next", "tb_lasti", "tb_lineno", "func_globals", "func_code"}
    | {f"f_{part}" for part in ("back", "builtins", "code", "globals", "lasti", "lineno", "locals", "trace")}
)
REFUSED_ATTRIBUTES = {  # on any object
    **dict.fromkeys(("load_weights", "save_weights", "save_safetensors", "save_gguf", "export_function"), _NO_FILES),
    **dict.fromkeys(("savez", "savez_compressed", "tofile", "fromfile", "memmap", "loadtxt", "savetxt"), _NO_FILES),
    **dict.fromkeys(("genfromtxt", "fromregex", "open_memmap", "dump", "dumps"), _NO_FILES),
    **dict.fromkeys(FRAMES, _NO_FRAMES),
    **dict.fromkeys(("ctypes", "cffi", "from_address", "from_buffer", "from_buffer_copy", "in_dll"), _NO_ADDRESSES),
    "obj": "an AttributeError's `obj` may be a module: take another name",
}

_OWN_CLASS = "write the class itself, as in `class Block(nn.Module):`"
_REFUSED_PATHS = {
    **{f"mlx.core.{n}": _NO_FILES for n in ("load", "save", "exporter", "import_function", "export_to_dot")},
    **{f"mlx.core.{n}": _NO_FILES for n in ("FunctionExporter", "metal.start_capture", "metal.stop_capture")},
    **{f"numpy.{n}": _NO_FILES for n in ("load", "save", "lib", "core", "ctypeslib", "f2py", "testing", "test", "rec")},
    "mlx.core.distributed": "there is one machine, and no network",
    "mlx.nn.distributed": "there is one machine, and no network",
    "mlx.nn.layers.distributed": "there is one machine, and no network",
    "mlx.core.random.seed": "the harness seeds mx.random, so that a lucky seed is not an idea: remove the call",
    "mlx.core.reset_peak_memory": "the peak is the harness's reading: remove the call",
    "mlx.core.metal.reset_peak_memory": "the peak is the harness's reading: remove the call",
    "operator.attrgetter": "write the attribute itself",
    "operator.methodcaller": "write the method call itself",
    **{f"dataclasses.{n}": _OWN_CLASS for n in ("make_dataclass",)},
    **{f"abc.{n}": "subclass abc.ABC" for n in ("ABCMeta", "update_abstractmethods")},
    **{f"enum.{n}": "subclass enum.Enum" for n in ("EnumMeta", "EnumType", "global_enum", "global_enum_repr")},
    "enum.global_flag_repr": "subclass enum.Enum",
    "functools.update_wrapper": "decorate with `@functools.wraps(function)`",
    **{f"functools.{n}": "branch on isinstance(...)" for n in ("singledispatch", "singledispatchmethod")},
    **{f"contextlib.{n}": "print goes to the log" for n in ("redirect_stdout", "redirect_stderr")},
    "contextlib.chdir": _NO_FILES,
    **{f"typing.{n}": "name the types themselves" for n in ("get_type_hints", "ForwardRef", "evaluate_forward_ref")},
    **{f"warnings.{n}": "use warnings.warn" for n in ("warn_explicit", "showwarning", "formatwarning")},
}

# What Run calls its own: a class that sets such a name on self could read it off a run, by `Own.method(run)`.
HARNESS_PRIVATE = frozenset(
    {"_given", "_feed", "_emit", "_fingerprint", "_warm", "_clock", "_last_warmup", "_last_event", "_end_warmup"}
)
# Private names that lead from an object of a library to modules: warnings.catch_warnings()._module, Enum._convert_.
LIBRARY_PRIVATE = frozenset({"_module", "_convert_", "_ctypes", "_evaluate", "_os", "_sys", "_stream", "_old_targets"})
NAMES = frozenset({"__name__", "__doc__", "__debug__", "__class__"})
MODULE_NAMES = frozenset({"__all__", "__author__", "__version__"})  # dunders that the file may bind
PRIVATE = frozenset({"_replace", "_asdict", "_fields", "_make"})  # the public interface of a named tuple
_READ = (
    *("init", "call", "post_init", "new", "name", "qualname", "doc", "class", "version", "repr", "str", "len", "iter"),
    *("next", "getitem", "setitem", "contains", "enter", "exit"),
)
_ARITHMETIC = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow", "and", "or", "xor")
_SHIFTS = ("lshift", "rshift")
_DEFINED = (
    *(side + name for name in (*_ARITHMETIC, *_SHIFTS) for side in ("", "r", "i")),
    *("neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil", "int", "float", "complex", "index", "bool"),
    *("eq", "ne", "lt", "le", "gt", "ge", "hash", "bytes", "format", "reversed", "length_hint", "delitem", "missing"),
    *("getattr", "setattr", "delattr", "get", "set", "delete", "set_name", "init_subclass", "class_getitem", "slots"),
    *("annotations", "dir", "aiter", "anext", "aenter", "aexit", "await"),
)
DUNDERS = frozenset(f"__{name}__" for name in _READ)  # that may be read
DEFINED_DUNDERS = DUNDERS | {f"__{name}__" for name in _DEFINED}  # that a class may define
SETTABLE_DUNDERS = frozenset({"__name__", "__qualname__", "__doc__"})  # of a function of the file

# These draw random numbers: at import the harness has not seeded yet.
_RANDOM_LAYERS = ("Linear", "Embedding", "Bilinear", "Conv1d", "Conv2d", "Conv3d", "MultiHeadAttention", "Transformer")
_RANDOM = {f"mlx.nn.{name}" for name in (*_RANDOM_LAYERS, "TransformerEncoder", "RNN", "GRU", "LSTM")}
_TRAINING = (
    "mlx.core.value_and_grad",
    "mlx.core.grad",
    "mlx.core.vjp",
    "mlx.nn.value_and_grad",
    "train",
    "build_model",
)


def trains(path: str, direct: bool = False) -> bool:
    """Return whether a dotted path draws random numbers, or (unless `direct`) belongs to a training step.

    `grad_fn = mx.grad(loss)` at module level is a definition, so a direct use of a transform does not count.
    """
    if path.startswith("mlx.core.random."):
        return path not in ("mlx.core.random.key", "mlx.core.random.split")
    if path in _RANDOM:
        return True
    return not direct and (path in _TRAINING or path.endswith(".batches"))


def import_hint(module: str) -> str:
    """Say what to do without a module: import_hint("os") -> "a candidate has no use for files, ..."."""
    allowed = ", ".join(sorted({*_PURE, "mlx", "numpy", "prepare"} - {"__future__", "collections.abc"}))
    return _HINTS.get(module.partition(".")[0], f"the modules on offer are {allowed}")


def refusal(path: str) -> str | None:
    """Say why a dotted path is not allowed, None where it is: refusal("prepare.task") -> "it belongs to ..."."""
    module, _, name = path.rpartition(".")
    if path in _REFUSED_PATHS:
        return _REFUSED_PATHS[path]
    if module == "prepare" and name not in PREPARE:
        return f"it belongs to the harness; of prepare use only {', '.join(sorted(PREPARE))}"
    if module == "<run>" and name not in RUN:
        return f"run offers only {', '.join(sorted(RUN))}"
    if module in _PURE and name not in _public(module) and path not in MODULES:
        return f"{module} offers no such name"
    if module in MODULES and path not in MODULES and _leads_to_a_module(module, name):
        return f"it is another module; of {module} use the functions and classes"
    return None


@cache
def _leads_to_a_module(module: str, name: str) -> bool:
    """Return whether `module.name` is a module. MLX is not asked, since it would hold Metal memory in the loop."""
    if module == "mlx":
        return True
    if not module.startswith("numpy"):
        return module not in ("mlx.core", "prepare") and (name in sys.stdlib_module_names or name in ("mx", "nn", "np"))
    if name in (found := vars(importlib.import_module(module))):
        return isinstance(found[name], types.ModuleType)
    return importlib.util.find_spec(f"{module}.{name}") is not None


@cache
def _public(module: str) -> frozenset[str]:
    """Return the public names of a module of the standard library, without the modules that it imports."""
    if module == "types":
        return frozenset({"SimpleNamespace", "MappingProxyType"})
    found = importlib.import_module(module)
    own = [n for n, v in vars(found).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)]
    return frozenset(getattr(found, "__all__", own))
