"""The form of a findings file: its published schema, and the messages of refusals."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings

from autoresearch.errors import BundleError
from autoresearch.findings import bundle
from autoresearch.findings.bundle import Bundle
from testbed.bundles import JSON, NAMES, changed


def test_the_published_schema_is_that_of_the_loader() -> None:
    """After a change of bundle.py, run: python -m autoresearch.findings.bundle"""
    assert json.loads(bundle.SCHEMA.read_text()) == bundle.json_schema()
    properties = bundle.json_schema()["properties"]
    assert set(properties) == {"format", "version", "id", *(f.name for f in fields(Bundle))}


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(JSON, NAMES)
def test_any_json_is_refused_in_words(value: Any, name: str) -> None:
    try:
        bundle.loads(changed(**{name: value}))
    except BundleError as error:
        assert str(error)
