"""Hash the parameters of a checkpoint, to compare them with the hash that the train child reported.

The child reports the hash when training ends and writes the file later; one that trains on in between is found out.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

DTYPES = {  # of safetensors, by the names that prepare.array_hash uses
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "BOOL": "bool",
    "C64": "complex64",
    **{f"{sign}{bits}": f"{name}int{bits}" for sign, name in (("I", ""), ("U", "u")) for bits in (8, 16, 32, 64)},
}
MOST_HEADER = 64 * 2**20  # bytes
CHUNK = 2**20  # bytes read at once


class CheckpointError(ValueError):
    """A file is not a checkpoint as MLX writes it."""


def fingerprint(path: Path) -> str:
    """Return the hash of the arrays in a safetensors file, which prepare.array_hash gives for them.

    Raises CheckpointError where the file is not whole, names an array twice, or holds bytes of no array.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > MOST_HEADER:
                raise CheckpointError(f"its header has {size} bytes")
            header = json.loads(file.read(size), object_pairs_hook=_once)
            return _hash(file, 8 + size, path.stat().st_size, header)
    except CheckpointError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"it cannot be read: {type(error).__name__}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise CheckpointError("it names something twice")
    return found


def _hash(file: BinaryIO, start: int, end: int, header: dict[str, Any]) -> str:
    arrays = {name: entry for name, entry in header.items() if name != "__metadata__"}
    place = start
    for begin, stop in sorted(tuple(map(int, entry["data_offsets"])) for entry in arrays.values()):
        if start + begin != place or stop < begin:
            raise CheckpointError("its arrays overlap or leave gaps")
        place = start + stop
    if place != end:
        raise CheckpointError("its arrays and its size differ")
    digest = hashlib.blake2b(digest_size=16)
    for name, entry in sorted(arrays.items()):
        digest.update(f"{name} {tuple(entry['shape'])} mlx.core.{DTYPES[entry['dtype']]}".encode())
        begin, stop = entry["data_offsets"]
        file.seek(start + begin)
        for left in range(stop - begin, 0, -CHUNK):
            digest.update(file.read(min(left, CHUNK)))
    return digest.hexdigest()
