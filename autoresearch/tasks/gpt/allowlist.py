"""List the modules, names and attributes that a candidate may use, and what to write instead of others. No I/O.

contract.py applies these tables.
"""

from __future__ import annotations

import importlib
import types
from functools import cache

PREPARE = frozenset(
    {"Task", "Run", "main", "cross_entropy", "chunked_cross_entropy", "relu_squared", "soft_cap", "attend_in_blocks"}
    | {"even_streams", "parallel"}
)
RUN = frozenset({"task", "seed", "progress", "warmup_batch", "batches", "log"})

_PURE = (
    *("__future__", "abc", "bisect", "cmath", "collections", "collections.abc", "contextlib", "copy", "dataclasses"),
    *("enum", "fractions", "functools", "heapq", "itertools", "math", "numbers", "operator", "random", "statistics"),
    *("typing", "types", "warnings"),
)  # of the standard library: nothing that reaches files, processes, clocks or the interpreter
_NUMERIC = ("mlx", "mlx.core", "mlx.nn", "mlx.optimizers", "mlx.utils", "numpy")
MODULES = frozenset({*_PURE, *_NUMERIC, "prepare"})
PACKAGES = ("mlx.core.", "mlx.nn.", "mlx.optimizers.", "numpy.fft", "numpy.linalg", "numpy.random", "numpy.typing")

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
REFUSED_ATTRIBUTES = {  # on any object
    **dict.fromkeys(("load_weights", "save_weights", "save_safetensors", "save_gguf", "export_function"), _NO_FILES),
    **dict.fromkeys(("savez", "savez_compressed", "tofile", "fromfile", "memmap", "loadtxt", "savetxt"), _NO_FILES),
    **dict.fromkeys(("genfromtxt", "fromregex", "open_memmap"), _NO_FILES),
    **dict.fromkeys(("tb_frame", "gi_frame", "cr_frame", "f_back", "f_globals", "f_locals", "f_builtins"), _NO_FRAMES),
}

_REFUSED_PATHS = {
    **{f"mlx.core.{n}": _NO_FILES for n in ("load", "save", "exporter", "import_function", "export_to_dot")},
    **{f"mlx.core.{n}": _NO_FILES for n in ("FunctionExporter", "metal.start_capture", "metal.stop_capture")},
    **{f"numpy.{n}": _NO_FILES for n in ("load", "save", "lib", "core", "ctypeslib", "f2py", "testing", "test", "rec")},
    "mlx.core.distributed": "there is one machine, and no network",
    "mlx.nn.layers.distributed": "there is one machine, and no network",
    "mlx.core.random.seed": "the harness seeds mx.random, so that a lucky seed is no idea: remove the call",
    "mlx.core.reset_peak_memory": "the peak is the harness's reading: remove the call",
    "mlx.core.metal.reset_peak_memory": "the peak is the harness's reading: remove the call",
    "operator.attrgetter": "write the attribute itself",
    "operator.methodcaller": "write the method call itself",
}

# What Run calls its own: a class that sets such a name on self could read it off a run, by `Own.method(run)`.
HARNESS_PRIVATE = frozenset(
    {"_given", "_training_rows", "_emit", "_fingerprint", "_warm", "_clock_start", "_last_warmup", "_last_event"}
    | {"_step_s", "_last_log", "_elapsed", "_pieces", "_start_clock"}
)
NAMES = frozenset({"__name__", "__doc__", "__debug__", "__class__"})
PRIVATE = frozenset({"_replace", "_asdict", "_fields", "_make"})  # the public interface of a named tuple
_SPECIAL = (
    *("init", "call", "post_init", "new", "name", "qualname", "doc", "class", "version", "repr", "str", "len", "iter"),
    *("next", "getitem", "setitem", "contains", "enter", "exit", "getattr"),
)
DUNDERS = frozenset(f"__{name}__" for name in _SPECIAL)  # beside those that a class of the file defines

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
    if module in _PURE and name not in _public(module):
        return f"{module} offers no such name"
    return None


@cache
def _public(module: str) -> frozenset[str]:
    """Return the public names of a module of the standard library, without the modules that it imports."""
    if module == "types":
        return frozenset({"SimpleNamespace", "MappingProxyType"})
    found = importlib.import_module(module)
    own = [n for n, v in vars(found).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)]
    return frozenset(getattr(found, "__all__", own))
