"""Addresses as people write them, and the proxies on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import UsageError
from autoresearch.system import addresses

FORMS = {
    "": "http://127.0.0.1:11434",
    "  ": "http://127.0.0.1:11434",
    "127.0.0.1": "http://127.0.0.1:11434",
    "127.0.0.1:8000": "http://127.0.0.1:8000",
    ":8000": "http://127.0.0.1:8000",
    "*:8000": "http://127.0.0.1:8000",
    "0.0.0.0": "http://127.0.0.1:11434",
    "0.0.0.0:8000": "http://127.0.0.1:8000",
    "localhost": "http://localhost:11434",
    "mac.local": "http://mac.local:11434",
    "http://mac.local": "http://mac.local:80",
    "HTTP://mac.local:8000/": "http://mac.local:8000",
    "http:/mac.local:8000": "http://mac.local:8000",
    "//mac.local": "http://mac.local:11434",
    "https://mac.local": "https://mac.local:443",
    "https://mac.local/ollama/": "https://mac.local:443/ollama",
    "mac.local/v1": "http://mac.local:11434",
    "http://mac.local:8000/api/": "http://mac.local:8000",
    "http://mac.local:8000/api/tags": "http://mac.local:8000",
    "http://mac.local:8000/ollama/v1/chat/completions?a=b": "http://mac.local:8000/ollama",
    "::1": "http://[::1]:11434",
    "[::1]:8000": "http://[::1]:8000",
    "::": "http://[::1]:11434",
    ' "127.0.0.1:8000" ': "http://127.0.0.1:8000",
    "“localhost”": "http://localhost:11434",
    "bücher.local:8000": "http://xn--bcher-kva.local:8000",
}
NOWHERE = (
    *("mac.local:port", "mac.local:99999", "mac.local:0", "mac.local:-1", "mac.local:1.5", "mac.local:１２"),
    *("my mac", "mac.local:11434,", "tcp://mac.local:1", "http://http://mac.local", "[::1", "a:1:2", "mac.local：1"),
)


@pytest.mark.parametrize(("host", "url"), FORMS.items())
def test_ollama_host_in_all_its_forms(host: str, url: str) -> None:
    assert addresses.ollama({"OLLAMA_HOST": host}) == addresses.Address(url, {})


@pytest.mark.parametrize("host", NOWHERE)
def test_an_ollama_host_that_leads_nowhere_is_refused_in_a_sentence(host: str) -> None:
    with pytest.raises(UsageError, match=r"^OLLAMA_HOST=[^\n]+$"):
        addresses.ollama({"OLLAMA_HOST": host})


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        found = addresses.ollama({"OLLAMA_HOST": text})
    except UsageError:
        return
    addresses.client_options(found.url.replace("https://", "http://"))


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("http://me:secret@mac.local:8000", "bWU6c2VjcmV0"),
        ("me:secret@mac.local:8000", "bWU6c2VjcmV0"),
        ("me:s%40/x@mac.local:8000", "bWU6c0AveA=="),
    ],
)
def test_a_password_is_sent_and_not_shown(host: str, sent: str) -> None:
    found = addresses.ollama({"OLLAMA_HOST": host})
    assert found == addresses.Address("http://mac.local:8000", {"Authorization": f"Basic {sent}"})
    with pytest.raises(UsageError) as caught:
        addresses.ollama({"OLLAMA_HOST": host + "0000"})
    assert "***@mac.local:80000000" in str(caught.value) and "secret" not in str(caught.value)


def test_the_key_of_ollama_is_sent_as_the_official_client_does() -> None:
    headers = addresses.ollama({"OLLAMA_API_KEY": "k"}).headers
    assert headers == {"Authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("localhost:1234", "http://localhost:1234/v1"),
        ("http://127.0.0.1:8080/v1/chat/completions", "http://127.0.0.1:8080/v1"),
        ("http://0.0.0.0:8080/v1/models", "http://127.0.0.1:8080/v1"),
        ("https://host/api/openai", "https://host/api/openai"),
    ],
)
def test_base_urls_as_people_write_them(given: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert addresses.openai(given).url == url
    monkeypatch.setenv("OPENAI_BASE_URL", f" '{given}'")
    assert addresses.openai(None).url == url


@pytest.mark.parametrize("given", ["ftp://x/v1", "http://[::1", "http://x:port/v1", "my server"])
def test_base_urls_that_lead_nowhere(given: str) -> None:
    with pytest.raises(UsageError, match=r"^--base-url"):
        addresses.openai(given)


def test_loopback_addresses() -> None:
    here = ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://127.9.9.9", "http://localhost.:1")
    assert all(map(addresses.is_loopback, here))
    assert not any(map(addresses.is_loopback, ("http://mac.local:1", "http://10.0.0.1:1", "https://ollama.com")))


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in addresses.PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "way"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ({"http_proxy": " 'p:1' "}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, None),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"ALL_PROXY": "socks://127.0.0.1:1080/", "HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "[::1] , hub.example.org,"}, None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "[::1],10.0.0.0/8,fe80::/10"}, "http://p:1"),
    ],
)
def test_the_proxy_on_the_way_to_a_server(
    variables: dict[str, str], way: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert addresses.proxy("http://hub.example.org/a") == way
    assert addresses.proxy("http://localhost:1") is None
    assert addresses.client_options("http://hub.example.org")["proxy"] == way


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ALL_PROXY", "socks4://127.0.0.1:1080"),
        ("all_proxy", "quic://127.0.0.1:1080"),
        ("HTTP_PROXY", "http://p:port"),
        ("http_proxy", "http://me:secret@:1"),
        ("HTTP_PROXY", "http://[::1"),
        ("HTTP_PROXY", "://"),
    ],
)
def test_an_unusable_proxy_is_a_sentence_with_its_variable(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(UsageError, match=rf"^{variable}=[^\n]+$") as caught:
        addresses.proxy("http://hub.example.org")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "no_proxy", "named"),
    [
        ("hub.example.org", "example.org", True),
        ("hub.example.org", ".example.org", True),
        ("hub.example.org", "*.example.org", True),
        ("hub.example.org", "https://hub.example.org/", True),
        ("hub.example.org", "HUB.example.org:443", True),
        ("hub.example.org", "hub.example.org:80", False),
        ("hub.example.org", "ample.org", False),
        ("hub.example.org", "", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.0/99", False),
        ("fe80::1", "[fe80::]/10", False),
        ("fe80::1", "fe80::/10", True),
        ("fe80::1", "[fe80::1]:443", True),
    ],
)
def test_what_no_proxy_names(host: str, no_proxy: str, named: bool) -> None:
    assert addresses.exempt(host, 443, no_proxy) is named


@given(st.text(max_size=30))
def test_no_entry_of_no_proxy_is_too_odd(text: str) -> None:
    addresses.exempt("10.1.2.3", 443, text)
