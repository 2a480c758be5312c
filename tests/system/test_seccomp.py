"""The seccomp filter: what its program says, and its numbers against the kernel's headers."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.system import seccomp
from autoresearch.system.seccomp import NEW_NAMESPACES, NUMBERS, X32, seccomp_filter

ALLOWED, REFUSED = 0x7FFF0000, 0x00050000 | errno.EPERM
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": sorted(Path("/usr/include").glob("*/asm/unistd_64.h")),
    "aarch64": sorted(Path("/usr/include").glob("asm-generic/unistd.h")),
}


def run(program: bytes, number: int, arguments: tuple[int, ...] = (0, 0), architecture: int = 0) -> int:
    """Return what the program says of a call, as the kernel would compute it."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", program))
    at, value = 0, 0
    while True:
        code, yes, no, k = instructions[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        elif code == 0x06:
            return int(k)
        else:
            true = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += yes if true else no


@pytest.mark.parametrize("machine", NUMBERS)
def test_the_program_refuses_the_calls_of_the_table_and_no_others(machine: str) -> None:
    program = seccomp_filter(machine)
    assert program is not None and len(program) % 8 == 0
    table = {number: name for name, number in NUMBERS[machine].items()}
    for number in range(600):
        said = run(program, number, architecture=ARCHITECTURE[machine])
        name = table.get(number)
        if name == "clone3":
            assert said == 0x00050000 | errno.ENOSYS
        else:
            assert said == (ALLOWED if name in (None, "clone", "ioctl") else REFUSED), (number, name)


@pytest.mark.parametrize("machine", NUMBERS)
def test_arguments_decide_on_clone_and_ioctl(machine: str) -> None:
    program, numbers, here = seccomp_filter(machine), NUMBERS[machine], ARCHITECTURE[machine]
    assert program is not None
    thread = 0x3D0F00  # the flags of pthread_create
    for flags, said in ((thread, ALLOWED), (0x10000000, REFUSED), (thread | 0x20000, REFUSED), (17, ALLOWED)):
        assert run(program, numbers["clone"], (flags, 0), here) == said
    for request, said in ((0x5412, REFUSED), (0x541C, REFUSED), (0x5401, ALLOWED), (0x5412 | 1 << 40, REFUSED)):
        assert run(program, numbers["ioctl"], (1, request), here) == said


@given(number=st.integers(0, 2**32 - 1), architecture=st.integers(0, 2**32 - 1), flags=st.integers(0, 2**64 - 1))
def test_another_abi_gets_nothing(number: int, architecture: int, flags: int) -> None:
    program = seccomp_filter("x86_64")
    assert program is not None
    if architecture != ARCHITECTURE["x86_64"]:
        assert run(program, number, (flags, flags), architecture) == REFUSED
    assert run(program, number | X32, (flags, flags), ARCHITECTURE["x86_64"]) == REFUSED
    cloned = run(program, 56, (flags, flags), ARCHITECTURE["x86_64"])
    assert cloned == (REFUSED if flags & NEW_NAMESPACES else ALLOWED)


@pytest.mark.parametrize("machine", NUMBERS)
def test_sockets_are_made_where_a_task_has_a_network(machine: str) -> None:
    program, number = seccomp_filter(machine, network=True), NUMBERS[machine]
    assert program is not None
    assert run(program, number["socket"], architecture=ARCHITECTURE[machine]) == ALLOWED
    assert run(program, number["ptrace"], architecture=ARCHITECTURE[machine]) == REFUSED


def test_an_unknown_machine_has_no_filter() -> None:
    assert seccomp_filter("riscv64") is None


@pytest.mark.parametrize("machine", NUMBERS)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine]:
        pytest.skip("the kernel's headers are not installed here")
    text = "".join(path.read_text() for path in HEADERS[machine])
    known = {name: int(n) for name, n in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    assert len(known) > 200
    wrong = {name: n for name, n in NUMBERS[machine].items() if known.get(name, n) != n}
    assert not wrong and set(seccomp._BY_ARGUMENT) <= set(known)
