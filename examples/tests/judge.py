"""Judge whether the suite still tests: the same tests ran, and those failed that a planted bug must fail.

    python judge.py --bugs bugs.json -> {"tests": 41, "bugs": 8, "found_by": 13}; exit code 1 where they did not

out/junit.xml comes from a process that has run the candidate's code, which could write anything there. But what it has
to say depends on the bugs that the seed has planted, and which test finds which bug stands in caught.json, which the
run cannot read. So a suite that skips a test, or calls it passed without running it, is found out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

from run import planted

MOST_BYTES = 2_000_000  # of the report


def report(path: Path) -> dict[str, bool]:
    """Return which tests passed."""
    data = path.read_bytes()
    if len(data) > MOST_BYTES or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError(f"{path} is too long or defines entities")
    passed: dict[str, bool] = {}
    for case in ElementTree.fromstring(data).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if name in passed:
            raise ValueError(f"{name} was reported twice")
        if case.find("skipped") is not None:
            raise ValueError(f"{name} was skipped")
        passed[name] = case.find("failure") is None and case.find("error") is None
    return passed


def wrong(passed: dict[str, bool], tests: list[str], caught: dict[str, list[str]], bugs: list[str]) -> list[str]:
    """Return what a suite's report says otherwise than it must with these bugs planted."""
    if missing := sorted(set(tests) - passed.keys()):
        return [f"{len(missing)} of {len(tests)} tests did not run: {', '.join(missing[:3])}"]
    if added := sorted(passed.keys() - set(tests)):
        return [f"unknown tests: {', '.join(added[:3])}"]
    must_fail = {test for bug in bugs for test in caught[bug]}
    blind = [f"{test} passed in spite of a planted bug" for test in tests if test in must_fail and passed[test]]
    return blind + [f"{test} failed without a bug" for test in tests if test not in must_fail and not passed[test]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge whether the suite still tests.")
    parser.add_argument("--bugs", default="bugs.json")
    known = json.loads(Path(parser.parse_args().bugs).read_text())
    bugs = [bug["name"] for bug in planted(known, int(os.environ.get("AUTORESEARCH_SEED", "0")))]
    answers = json.loads(Path("caught.json").read_text())
    try:
        passed = report(Path("out/junit.xml"))
        found = wrong(passed, answers["tests"], answers["caught"], bugs)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        found = [str(error)]
    if found:
        print("\n".join(found), file=sys.stderr)
        return 1
    print(json.dumps({"tests": len(passed), "bugs": len(bugs), "found_by": list(passed.values()).count(False)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
