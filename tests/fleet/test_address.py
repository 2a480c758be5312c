from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import UsageError
from autoresearch.fleet import address


def test_a_line_names_host_port_and_key() -> None:
    key = address.new_key()
    line = f"autoresearch://10.0.0.5:8786#{key}"
    found = address.parse(f" {line}\n")
    assert str(found) == line and found.url == "tls://10.0.0.5:8786"
    assert key not in found.name
    assert address.parse(f"autoresearch://[fe80::1]:9000#{key}").host == "[fe80::1]"


@given(st.text())
def test_any_other_text_is_refused_in_a_sentence(text: str) -> None:
    try:
        address.parse(text)
    except UsageError as error:
        assert "that is not a fleet's address" in str(error)


@pytest.mark.parametrize("line", ["autoresearch://h:0#" + "k" * 20, "autoresearch://h:99999#" + "k" * 20, "tls://h:1"])
def test_ports_and_schemes_are_looked_at(line: str) -> None:
    with pytest.raises(UsageError):
        address.parse(line)


def test_the_same_key_gives_the_same_certificate_everywhere() -> None:
    made = address.certificate("k" * 20)
    assert made == address.certificate("k" * 20)
    assert not set(made) & set(address.certificate("l" * 20))
