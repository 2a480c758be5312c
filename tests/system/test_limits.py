"""The environment and the limits of a confined child."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoresearch.system.limits import environment, limits
from testbed.confined import python


def test_the_environment_is_an_allowlist(tmp_path: Path) -> None:
    base = {
        "PATH": "/bin", "HOME": "/home/me", "TMPDIR": "/tmp", "LANG": "de_DE.UTF-8", "MLX_MAX_OPS": "1",
        "OMP_NUM_THREADS": "2", "VIRTUAL_ENV": "/v", "HF_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s",
        "SSH_AUTH_SOCK": "/s", "PYTHONPATH": "/p", "PYTHONSTARTUP": "/p", "DYLD_INSERT_LIBRARIES": "/d",
        "AUTORESEARCH_SEED": "1", "OLLAMA_HOST": "h",
    }  # fmt: skip
    env = environment(tmp_path, {"LD_PRELOAD": "/b.so", "AUTORESEARCH_SEED": "2"}, base)
    assert env == {
        "PATH": "/bin", "LANG": "de_DE.UTF-8", "MLX_MAX_OPS": "1", "OMP_NUM_THREADS": "2", "VIRTUAL_ENV": "/v",
        "AUTORESEARCH_SEED": "2", "LD_PRELOAD": "/b.so", "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1",
    }  # fmt: skip
    assert environment(tmp_path, base={})["PATH"]


def test_limits_hold_in_the_command(run_dir: Path) -> None:
    code = (
        "import resource as r, json\n"
        "print(json.dumps([r.getrlimit(k)[0] for k in (r.RLIMIT_CORE, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE, r.RLIMIT_CPU)]))"
    )
    prefix = limits(file_bytes=10**6, open_files=100, cpu_s=1000)
    assert json.loads(python(prefix, run_dir, code)) == [0, 10**6, 100, 1000]


def test_a_file_over_the_limit_is_an_error_of_the_child(run_dir: Path) -> None:
    code = "open('big', 'wb').write(bytes(2 * 10**6))"
    argv = [*limits(file_bytes=10**6), sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=run_dir, env=environment(run_dir), capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert (run_dir / "big").stat().st_size == 10**6


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no such score")
def test_a_machine_short_of_memory_ends_the_child_first(run_dir: Path) -> None:
    assert python(limits(), run_dir, "print(open('/proc/self/oom_score_adj').read())") == "1000"


@pytest.mark.slow
def test_a_processor_hog_is_ended(run_dir: Path) -> None:
    started = time.monotonic()
    done = subprocess.run([*limits(cpu_s=1), sys.executable, "-c", "while True: pass"], cwd=run_dir, timeout=30)
    assert done.returncode in (-signal.SIGXCPU, -signal.SIGKILL) and time.monotonic() - started < 20
