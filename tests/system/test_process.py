"""Commands and supervised children, all of them real processes."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from autoresearch.errors import CommandError
from autoresearch.system.process import GRACE_S, MARK, Child, end_orphans, run
from testbed.toy import ROOT

SEND = """
import json, os, sys, time
events = os.fdopen(int(os.environ["AUTORESEARCH_EVENTS_FD"]), "wb", buffering=0)
def send(**event): events.write(json.dumps(event).encode() + b"\\n")
"""
ESCAPE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("escaped", os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Child]:
    def _start(code: str, **options: object) -> Child:
        return Child(python(code), cwd=tmp_path, env=os.environ, log_path=tmp_path / "log", **options)  # type: ignore[arg-type]

    return _start


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- run ------------------------------------------------------------------------------------------------------------


def test_run_returns_both_streams_and_takes_input() -> None:
    done = run(python("import sys; print(sys.stdin.read().upper()); print('x', file=sys.stderr)"), input="grüße")
    assert (done.stdout, done.stderr, done.returncode) == ("GRÜSSE\n", "x\n", 0)


def test_run_keeps_undecodable_bytes() -> None:
    done = run(python("import sys; sys.stdout.buffer.write(b'\\xff\\x00a')"))
    assert done.raw == b"\xff\x00a"
    assert done.stdout == "\ufffd\x00a"


def test_run_raises_with_command_code_and_streams() -> None:
    with pytest.raises(CommandError, match="exited with 3") as caught:
        run(python("import sys; print('out'); sys.exit('why') if 0 else sys.stderr.write('why'); sys.exit(3)"))
    assert (caught.value.returncode, caught.value.stdout, caught.value.stderr) == (3, "out\n", "why")
    assert run(python("raise SystemExit(3)"), check=False).returncode == 3


def test_run_names_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not found") as caught:
        run([tmp_path / "no-such-program"])
    assert caught.value.returncode == 127


def test_run_passes_arguments_without_a_shell() -> None:
    hostile = "a b; $(touch x) 'q'"
    assert run([*python("import sys; print(sys.argv[1])"), hostile]).stdout == hostile + "\n"


@pytest.mark.slow
def test_run_ends_the_whole_group_at_its_timeout(tmp_path: Path) -> None:
    inner = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with pytest.raises(CommandError, match=r"no end after 1 s") as caught:
        run(python(code), timeout=1)
    assert caught.value.returncode == 124
    until(lambda: gone(int((tmp_path / "pid").read_text())))


# --- events ---------------------------------------------------------------------------------------------------------


def test_events_arrive_with_the_parents_clock(start: Callable[..., Child]) -> None:
    before = time.monotonic()
    with start(SEND + "send(type='a', x=1); time.sleep(0.3); send(type='b', text='ü', t=time.monotonic())") as child:
        (t_a, a), (t_b, b) = list(child.events())
    sent = b.pop("t")  # one monotonic clock for all processes of a machine
    assert (a, b) == ({"type": "a", "x": 1}, {"type": "b", "text": "ü"})
    assert before < t_a < t_b < time.monotonic()
    assert sent < t_b
    assert (child.wait(), child.stopped, child.dropped_events) == (0, None, 0)


@pytest.mark.slow
def test_next_event_gives_up_after_its_timeout_and_after_the_end(start: Callable[..., Child]) -> None:
    with start(SEND + "time.sleep(0.6); send(type='late')") as child:
        assert child.next_event(timeout=0.05) is None
        assert child.running
        item = child.next_event(timeout=10)
        assert item is not None
        assert item[1] == {"type": "late"}
        assert child.next_event() is None
        assert child.next_event() is None


BAD_LINES = """
bad = [b"not json", b"[1]", b'{"a": ', b"\\xff\\xfe", b"[" * 50_000, b"1" * 5000, b'"' + b"x" * 200_000 + b'"']
for i, line in enumerate(bad):
    events.write(line + b"\\n")
    send(good=i)
"""


def test_bad_event_lines_are_counted_and_dropped(start: Callable[..., Child]) -> None:
    with start(SEND + BAD_LINES) as child:
        events = [event for _, event in child.events()]
    assert events == [{"good": i} for i in range(7)]
    assert child.dropped_events == 7


@pytest.mark.slow
def test_a_flood_of_events_is_dropped_and_the_child_never_blocks(start: Callable[..., Child]) -> None:
    flood = 'line = b\'{"type": "step"}\\n\' * 1000\nfor _ in range(300): events.write(line)\n'
    with start(SEND + flood + "time.sleep(1); send(type='result')") as child:
        assert child.wait(timeout=20) == 0  # nobody has read an event so far
        kinds = [event["type"] for _, event in child.events()]
    assert child.dropped_events > 280_000
    assert 0 < len(kinds) <= 4096
    assert len(kinds) + child.dropped_events == 300_001


def test_a_result_sent_after_a_flood_arrives(start: Callable[..., Child]) -> None:
    flood = 'line = b\'{"type": "step"}\\n\' * 1000\nfor _ in range(100): events.write(line)\n'
    with start(SEND + flood + "time.sleep(0.2); send(type='result')") as child:
        kinds = [event["type"] for _, event in child.events()]
    assert kinds[-1] == "result"


# --- the log --------------------------------------------------------------------------------------------------------


def test_the_log_holds_both_streams_and_a_flood_does_not_block(start: Callable[..., Child], tmp_path: Path) -> None:
    code = "import os, sys\nos.write(1, b'first ')\nos.write(2, b'second ')\n"
    with start(
        code + "for _ in range(2000): os.write(1, b'x' * 10_000)\nos.write(2, b'last')", log_limit_bytes=5000
    ) as child:
        assert child.wait(timeout=30) == 0
    text = (tmp_path / "log").read_bytes()
    assert text.startswith(b"first second xxx")
    assert text.endswith(b"xlast")
    assert b"bytes cut" in text
    assert len(text) < 5100


def test_a_full_disk_ends_the_log_and_not_the_child(start: Callable[..., Child], tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with start(SEND + "print('x' * 100_000, flush=True); send(type='result')") as child:
            assert [event for _, event in child.events()] == [{"type": "result"}]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert child.returncode == 0 and (tmp_path / "log").read_bytes() == b"x" * 1000


# --- ending a child -------------------------------------------------------------------------------------------------


def test_the_wall_clock_limit(start: Callable[..., Child]) -> None:
    with start("import time; time.sleep(60)", limit_s=0.3) as child:
        assert list(child.events()) == []
    assert child.returncode == -signal.SIGTERM
    assert child.stopped == "ran longer than its limit of 0.3 s"
    assert time.monotonic() - child.started < 5


@pytest.mark.slow
def test_the_watchdog_is_asked_and_its_reason_kept(start: Callable[..., Child]) -> None:
    def too_big(child: Child) -> str | None:
        mb = child.held_bytes() / 2**20
        return f"{mb:.0f} MB" if mb > 150 else None

    with start("x = bytearray(200 * 2**20); import time; time.sleep(60)", watchdog=too_big) as child:
        child.wait(timeout=20)
    assert child.stopped is not None
    assert child.stopped.endswith("MB")


@pytest.mark.slow
def test_a_child_that_ignores_sigterm_is_killed(start: Callable[..., Child]) -> None:
    with start(SEND + "import signal; signal.signal(15, signal.SIG_IGN); send(ready=1); time.sleep(60)") as child:
        child.next_event()
        child.kill("enough")
    assert child.returncode == -signal.SIGKILL
    assert child.stopped == "enough"
    assert time.monotonic() - child.started < GRACE_S + 5


def test_descendants_end_with_the_child(start: Callable[..., Child]) -> None:
    code = "import subprocess, sys; p = [subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    code += "start_new_session=s) for s in (False, True)]; send(pids=[q.pid for q in p]); time.sleep(60)"
    with start(SEND + code) as child:
        item = child.next_event(timeout=10)
        assert item is not None
        child.kill()
    until(lambda: all(gone(pid) for pid in item[1]["pids"]))


def test_a_daemon_that_left_the_session_is_found_by_its_mark(start: Callable[..., Child], tmp_path: Path) -> None:
    with start(ESCAPE + "time.sleep(0.3)") as child:
        assert child.wait(timeout=10) == 0  # although the daemon holds both pipes open
    pid = int((tmp_path / "log").read_text().split()[1])
    until(lambda: gone(pid))


def test_a_missing_program_leaves_nothing_open(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    with pytest.raises(CommandError, match="not found"):
        Child([str(tmp_path / "none")], cwd=tmp_path, env={}, log_path=tmp_path / "log")
    assert psutil.Process().num_fds() == before


@pytest.mark.slow
def test_many_children_leak_nothing(start: Callable[..., Child]) -> None:
    with start("pass"):
        pass
    here = psutil.Process()
    fds, threads = here.num_fds(), here.num_threads()
    for _ in range(10):
        with start(SEND + "send(type='x')") as child:
            assert len(list(child.events())) == 1
    until(lambda: here.num_fds() <= fds and here.num_threads() <= threads)


def test_it_runs_until_its_last_event_was_read(start: Callable[..., Child]) -> None:
    with start(SEND + "send(type='result')") as child:
        assert child.wait(timeout=10) == 0
        assert child.running
        assert child.next_event(timeout=0) is not None
        assert not child.running


# --- the loop ends first ----------------------------------------------------------------------------------------------


LOOP = """
import os, sys, time
from pathlib import Path
from autoresearch.system.process import Child
here = Path(sys.argv[1])
child = Child([sys.executable, "-c", "import time; time.sleep(60)"], cwd=here, env=os.environ, log_path=here / "log")
print(child.pid, flush=True)
"""


def loop(tmp_path: Path, rest: str) -> tuple[subprocess.Popen[str], int]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*python(LOOP + rest), str(tmp_path)], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def finish(process: subprocess.Popen[str]) -> int:
    with process:
        return process.wait(timeout=20)


def test_ctrl_c_ends_the_child(tmp_path: Path) -> None:
    process, child = loop(tmp_path, "with child:\n    for _ in child.events(): pass")
    assert not gone(child)
    process.send_signal(signal.SIGINT)
    assert finish(process) != 0
    assert gone(child)


def test_a_loop_that_forgets_its_child_does_not_leave_it_behind(tmp_path: Path) -> None:
    process, child = loop(tmp_path, "raise SystemExit(7)")
    assert finish(process) == 7
    assert gone(child)


@pytest.mark.slow
def test_what_a_killed_loop_left_is_ended_by_the_next(tmp_path: Path) -> None:
    other = Child(python("import time; time.sleep(60)"), cwd=tmp_path, env=os.environ, log_path=tmp_path / "log2")
    with other:
        for attempt in range(3):  # a loop of a test beside this one may be the next one
            folder = tmp_path / str(attempt)
            folder.mkdir()
            process, child = loop(folder, "time.sleep(60)")
            process.kill()
            finish(process)
            if child in end_orphans():
                break
        else:
            pytest.fail("it was not found, three times")
        assert other.running
    until(lambda: gone(child))


def test_a_loop_started_by_a_child_that_is_gone_does_not_end_itself(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), MARK: "1234567:1.00:1"}
    code = "import os; from autoresearch.system.process import end_orphans; print(os.getpid() in end_orphans())"
    for _ in range(5):
        with contextlib.suppress(CommandError):  # a loop of a test beside this one ended it as the orphan that it is
            assert run(python(code), env=env, cwd=tmp_path).stdout == "False\n"
            return
    pytest.fail("it was ended five times: by itself")


def test_the_end_of_a_log_does_not_come_from_its_path(tmp_path: Path) -> None:
    code = "import os; print('the end', flush=True); os.unlink('log'); os.symlink('/etc/passwd', 'log')"
    with Child([sys.executable, "-c", code], cwd=tmp_path, env={}, log_path=tmp_path / "log") as child:
        child.wait(30)
    assert child.log_end == "the end\n"


def test_a_child_is_handed_an_open_file(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows")
    code = "import sys; print(sys.stdin.buffer.read())"
    for stdin, says in ((tmp_path / "rows", "b'rows'\n"), (None, "b''\n")):
        log = tmp_path / "log"
        with Child([sys.executable, "-c", code], cwd=tmp_path, env={}, log_path=log, stdin=stdin) as child:
            child.wait(30)
        assert log.read_text() == says
    with pytest.raises(FileNotFoundError):
        Child([sys.executable], cwd=tmp_path, env={}, log_path=tmp_path / "log", stdin=tmp_path / "nowhere")


def test_a_child_inherits_the_descriptors_that_are_passed(start: Callable[..., Child]) -> None:
    read_fd, write_fd = os.pipe()
    code = "import os; os.write(int(os.environ['ANSWER_FD']), b'here')"
    with start(code, pass_fds={"ANSWER_FD": write_fd}) as child:
        os.close(write_fd)
        assert child.wait(30) == 0
    assert os.read(read_fd, 10) == b"here" and os.read(read_fd, 10) == b""
    os.close(read_fd)
