"""What earlier nights taught about a machine, as a file."""

from __future__ import annotations

import json
from pathlib import Path

from autoresearch.decide import earlier_nights, early_stop
from autoresearch.decide.noise import Noise

TASK = {"dataset": "toy", "profile": "tiny", "fingerprint": "toy0" * 4, "budget_s": 1.0}


EARLIER = [early_stop.Finished(0.005 * (k % 5), 0.01) for k in range(20)] + [early_stop.Finished(0.5, -0.1)]


def test_an_old_record_of_a_machine_knows_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    earlier_nights.save(path, TASK, "new", Noise(0.02, 8.0), EARLIER)
    known = json.loads(path.read_text())
    for nights in known.values():
        nights["old"] = {"sigma_bpb": 0.02, "df": 8.0}
    path.write_text(json.dumps(known))
    assert earlier_nights.finished(path, TASK, "third") == EARLIER
    assert earlier_nights.finished(path, TASK, "new") == []
