from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from autoresearch.system.attended import attend


@pytest.mark.parametrize(("code", "found"), [("raise SystemExit(75)", 75), ("import os; os.kill(os.getpid(), 9)", -9)])
def test_the_way_a_command_ends_is_its_code(code: str, found: int) -> None:
    assert attend([sys.executable, "-c", code], os.environ) == found


def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    code = "import signal, sys, time, pathlib; m = pathlib.Path(sys.argv[1]); "
    code += (
        "signal.signal(signal.SIGTERM, lambda *_: (m.touch(), sys.exit(0))); m.with_name('up').touch(); time.sleep(60)"
    )

    def interrupt() -> None:
        while not (tmp_path / "up").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            attend([sys.executable, "-c", code, str(mark)], os.environ)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert mark.exists()


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        attend(["no-such-program-here"], os.environ)
