"""Write the seccomp filter of a confined child on Linux: system calls that training has no use for fail. No I/O.

The filter is a BPF program, which bubblewrap installs before it starts the command. A refused call returns EPERM and
ends nothing, so that a library that merely tries one goes on without it.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterator

_X86_64 = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "lookup_dcookie": 212,
    "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308, "acct": 163,
    "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176,
    "socket": 41, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
    "quotactl": 179, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305, "syslog": 103,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "fanotify_init": 300, "vhangup": 153, "nfsservctl": 180,
    "iopl": 172, "ioperm": 173, "modify_ldt": 154, "uselib": 134, "clone": 56, "ioctl": 16,
}  # fmt: skip
_AARCH64 = {
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "lookup_dcookie": 18,
    "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241,
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268, "acct": 89,
    "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106,
    "socket": 198, "swapon": 224, "swapoff": 225, "reboot": 142, "sethostname": 161, "setdomainname": 162,
    "quotactl": 60, "settimeofday": 170, "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266, "syslog": 116,
    "name_to_handle_at": 264, "open_by_handle_at": 265, "fanotify_init": 262, "vhangup": 58, "nfsservctl": 42,
    "clone": 220, "ioctl": 29,
}  # fmt: skip
_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
}  # fmt: skip
NUMBERS = {"x86_64": _X86_64 | _EVERYWHERE, "aarch64": _AARCH64 | _EVERYWHERE}  # of the calls, by architecture
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h

_BY_ARGUMENT = ("clone", "clone3", "ioctl")  # refused for some arguments only
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
TERMINAL_REQUESTS = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX type into the terminal
X32 = 0x40000000  # bit of the call numbers of x86_64's second ABI

_LOAD, _RETURN, _EQUAL, _AT_LEAST, _ANY_BIT = 0x20, 0x06, 0x15, 0x35, 0x45  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data; arguments: their low halves
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000  # linux/seccomp.h


def seccomp_filter(machine: str | None = None, *, network: bool = False) -> bytes | None:
    """Return the filter for an architecture (None: this one) as the kernel reads it, or None for an unknown one.

    With `network` it lets sockets be made.
    """
    machine = machine or platform.machine()
    if machine not in NUMBERS:
        return None
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(machine, network))


Instruction = tuple[int, int, int, int]  # code, instructions to skip where true, where false, operand


def _program(machine: str, network: bool) -> Iterator[Instruction]:
    numbers = NUMBERS[machine]
    refuse = _back(_ERROR | errno.EPERM)
    yield from (_load(_ARCHITECTURE), (_EQUAL, 1, 0, _AUDIT[machine]), refuse)  # 32-bit calls have other numbers
    yield _load(_NUMBER)
    if machine == "x86_64":
        yield from ((_AT_LEAST, 0, 1, X32), refuse)
    for name, number in sorted(numbers.items()):
        if name not in _BY_ARGUMENT and not (network and name == "socket"):
            yield from ((_EQUAL, 0, 1, number), refuse)
    # The flags of clone3 are in memory, where a filter cannot look. Where it is missing, the C library uses clone.
    yield from ((_EQUAL, 0, 1, numbers["clone3"]), _back(_ERROR | errno.ENOSYS))
    flags = [_load(_FIRST), (_ANY_BIT, 0, 1, NEW_NAMESPACES), refuse, _back(_ALLOW)]
    yield from ((_EQUAL, 0, len(flags), numbers["clone"]), *flags)
    yield from ((_EQUAL, 0, 5, numbers["ioctl"]), _load(_SECOND))
    yield from ((_EQUAL, 1, 0, TERMINAL_REQUESTS[0]), (_EQUAL, 0, 1, TERMINAL_REQUESTS[1]), refuse, _back(_ALLOW))
    yield _back(_ALLOW)


def _load(offset: int) -> Instruction:
    return _LOAD, 0, 0, offset


def _back(value: int) -> Instruction:
    return _RETURN, 0, 0, value
