"""Each benchmark's quick form runs in a process of its own and prints its table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.toy import ROOT

# Command -> columns of its table, if it is a Markdown one, and further texts of its output.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "examples coverage": ("example | true gain | covered | mean width", ("| ab |", "| routing |", " of 2 |")),
    "examples nights --examples bundle": ("example | metric", ("| bundle | gzip_bytes, clocked | 1 of 1 |",)),
    "fleet classes": ("class | decided | kept | baseline", ("-1cpu-",)),
    "fleet growth": (
        "proposer | s an idea | members | decided in 8 hours | busy, % | stale, %",
        ("| model | 20 | 16 |",),
    ),
    "fleet incidents": ("incident | times | runs struck", ("| all | 3 |", "lost 0, twice 0, unmeasured 0")),
    "fleet newcomers": ("member | its class | since", ("| member3 | its own |", "after the restart: 0")),
    "fleet rate": ("members | decided an hour | runs an hour", ("| 1 |",)),
    "mac": (
        "what | type | tok_s | step_ms | peak_mib",
        ("| baseline |", "from here into an issue", "not run: ", "attention and its gradients, D 128, bfloat16: 0.0"),
    ),
    "machines": ("", ("compare.html",)),
    "nights incidents": ("incident | times | decided | set aside | lost s each | goes on", ("| kill -9 | 2 |",)),
    "nights models": ("night | experiments | kept | crashed", ("| hybrid |",)),
    "nights newcomer": (
        "part | s | CPU s",
        ("| git clone |", "| the data is prepared (text, tokenizer, rows) |", "| together |"),
    ),
    "nights nulls": ("spent on | runs | s | share", ("of 1 candidates that change nothing",)),
    "nights overhead": ("part | s | ", ("| training |", "| spent on | runs | s | share |", "for the trust")),
    "pages serve": ("address | experiments | kB", ("| /night.html | 60 |", "| a page and 10 requests a second | 1 |")),
    "pages view": ("view | % of a core | ms a drawing | ms a publication | bytes", ("| log lines |", "| 12 |")),
    "protocol reading": ("form | the model | loads a turn | prompt, tokens", ("| set | is unloaded each turn | 1 |",)),
    "protocol real": ("how turns ended | ", ("replies in", "its share of the next hybrid night begins at")),
    "protocol recorded": (
        " | as recorded | the same form, today | the form for its size, today",
        ("| turns with a usable answer | 6 of 9 | ", " | 9 of 9 |"),
    ),
    "protocol replies": ("habit | the reply | what became of it", ("5 are used at once, 5 go back",)),
    "protocol turns": ("6 turns | blocks | set", ("| turns given up |",)),
    "quality defaults": (
        "change | dataset | scale | steps | gain | low | high | by seed | s_ratio",
        ("| BIGRAM_ROWS 16 |",),
    ),
    "quality optimizers": ("optimizer | seed | steps | val_bpb", ("| Muon + AdamW | 42 |", "| AdamW | 42 |")),
    "simulations keep_rule": ("", ("100 runs, sigma known", "three-seed bootstrap 95%", "kept as proposal 41")),
    "simulations kinds": ("", ("Limits for p", "Intervals", "A/A nights")),
    "simulations night": ("", ("Search and validation", "Drift, mixed nights", "Early stop")),
    "simulations search": ("search | 10 runs | 20 runs | difference to the tuner", ("| random search |",)),
    "trainer batches": ("a batch | rows | median_ms", ("| memory-mapped rows |", "| tokenizing and packing |")),
    "trainer breakdown": ("part | ms | percent", ("| forward |", "| optimizer |", "| whole step |")),
    "trainer gpu": (
        "what | loss_apart | gradient_apart",
        ("| plain port, bfloat16 |", "| attention, bfloat16, D 256, T 4096 |", "| compile: head |", "fastest: "),
    ),
    "trainer operations": ("whose | type | table | attention", ("| the plain port | float32 |", "| ours | float32 |")),
    "trainer plain": ("T | pattern | plain_tok_s | ours_tok_s | speedup", ("| 256 | L |",)),
    "trainer scaling": ("depth | C | T | V | rows | s | peak_mib | tok_s | s_ratio | memory_ratio", ()),
    "trainer step": ("depth | C | T | type | tok_s | peak_mib | mfu_percent | ops_plain", ("| float32 |",)),
    "trainer warmup": ("candidate | steps | warmup_step_s | step_s | step_ratio", ("| DEPTH = 2,",)),
    "trust candidates": (
        "candidate | tries | contract | contract bypassed | val_bpb | s",
        ("candidates' own folders: nothing.", "| honest |", "| **probe_causality** "),
    ),
    "trust cost": ("part | s | cpu_s", ("| scoring in one process, NumPy, a batch |", "| 2 x 64 x 512 | bfloat16 |")),
    "trust honest": ("honest model | evaluations | false alarms | largest_nats", ("| convolution by FFT | 2 | 0 |",)),
    "trust power": ("leak | open | tiny bpb | tiny float32", ("| one ahead, +1 | 100% |", "| 3 of 3 |")),
    "trust preflight": (
        "candidates | tried | refused | s, median",
        ("| edits that cannot work | 2 | 2 |", "| honest edits | 2 | 0 |", "recipes | 2 | 0 |"),
    ),
}


# These take half a minute and more, many of them whole nights: `pytest -m long` runs them.
LONG = (
    "fleet classes",
    *(
        "nights incidents",
        "quality defaults",
        "examples nights --examples bundle",
        "fleet incidents",
        "fleet newcomers",
        "fleet rate",
        "trainer gpu",
        "pages view",
        "machines",
        "nights models",
    ),
    *("nights nulls", "trust preflight", "trust cost", "protocol real", "protocol recorded", "protocol turns"),
    *("quality optimizers", "protocol reading", "pages serve", "simulations search", "trainer scaling"),
)
COMMANDS = [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in TABLES]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_quick_form_prints_its_table(command: str, tmp_path: Path) -> None:
    if command == "machines" and sys.platform != "linux":
        pytest.skip("only Linux pins a process to cores")
    columns, texts = TABLES[command]
    argv = [sys.executable, "-m", "benchmarks", *command.split(), "--quick"]
    env = {**os.environ, "AUTORESEARCH_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = [f"| {columns}", *texts] if columns else texts
    assert [text for text in wanted if text not in done.stdout] == [], done.stdout
