"""Read the addresses of servers, and find the proxy on the way to one.

Addresses come as people write them: OLLAMA_HOST, OPENAI_BASE_URL, --base-url. A password in one is sent and not shown.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from autoresearch import environment
from autoresearch.errors import UsageError

OLLAMA_PORT = 11434
PROXY_VARIABLES = tuple(
    name for kind in ("http", "https", "all", "no") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY")
)
_CALLS = re.compile(r"/(?:v1|api)(?:/(?:chat/completions|completions|models|tags|chat|generate|version))?$", re.I)


@dataclass(frozen=True, slots=True)
class Address:
    """A server's URL, without a password, and the headers that a request to it needs."""

    url: str
    headers: Mapping[str, str]


def ollama(environ: Mapping[str, str] | None = None) -> Address:
    """Return the address of the Ollama server: OLLAMA_HOST in any form that people write. Raises UsageError.

    >>> [ollama({"OLLAMA_HOST": host}).url for host in ("", "0.0.0.0:8000", "mac.local", "https://host/ollama/api")]
    ['http://127.0.0.1:11434', 'http://127.0.0.1:8000', 'http://mac.local:11434', 'https://host:443/ollama']
    """
    given, key = environment.value("OLLAMA_HOST", environ) or "", environment.value("OLLAMA_API_KEY", environ)
    found = _parsed("OLLAMA_HOST=", given, OLLAMA_PORT)
    bearer = {"Authorization": f"Bearer {key}"} if key else {}  # as the official client does
    return Address(_CALLS.sub("", found.url), found.headers or bearer)


def openai(base_url: str | None) -> Address:
    """Return the address of an OpenAI-compatible server: --base-url, else OPENAI_BASE_URL. Raises UsageError.

    >>> [openai(url).url for url in ("localhost:8080", "https://host/proxy/v1/chat/completions")]
    ['http://localhost:8080/v1', 'https://host/proxy/v1']
    """
    name, given = ("--base-url ", base_url) if base_url else ("OPENAI_BASE_URL=", environment.value("OPENAI_BASE_URL"))
    if given is None or not given.strip():
        raise UsageError("a model openai:NAME needs --base-url, e.g. --base-url http://127.0.0.1:8080/v1")
    found = _parsed(name, given.strip(), None)
    url = re.sub(r"/(?:chat/completions|completions|models)$", "", found.url)
    return Address(url if urlsplit(url).path else f"{url}/v1", found.headers)


def is_loopback(url: str) -> bool:
    """Return whether a URL names this machine: is_loopback("http://localhost:11434") -> True."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def client_options(url: str) -> dict[str, Any]:
    """Return the arguments of an httpx.Client for `url`: its proxy, if any, and its certificates.

    httpx is kept from reading the environment itself, since it fails there on what other programs accept. Raises
    UsageError where the proxy, or the file that SSL_CERT_FILE names, cannot be used.
    """
    import httpx

    verify: Any = False
    if url.startswith("https"):  # loading certificates costs 30 ms
        try:
            verify = httpx.create_ssl_context()
        except OSError as error:
            raise UsageError(f"SSL_CERT_FILE or SSL_CERT_DIR names no certificates: {error}") from None
    return {"trust_env": False, "proxy": proxy(url), "verify": verify}


def proxy(url: str) -> str | None:
    """Return the proxy on the way to `url`, or None for a direct way, as always to this machine.

    Proxies are those of the environment, or of macOS's settings. Raises UsageError where one cannot be used.
    """
    found = getproxies()
    parts = urlsplit(url)
    kind = next((kind for kind in (parts.scheme, "all") if found.get(kind, "").strip()), None)
    if kind is None or is_loopback(url) or exempt(parts.hostname or "", parts.port, found.get("no", "")):
        return None
    name = _variable(kind)
    text = found[kind].strip().strip(environment.QUOTES)
    text = text if "://" in text else f"http://{text}"
    scheme, _, rest = text.partition("://")
    scheme = {"socks": "socks5"}.get(scheme.lower(), scheme.lower())
    shown = f"{name}={scheme}://{rest.rpartition('@')[2]}"
    if scheme not in ("http", "https", "socks5", "socks5h"):
        raise UsageError(f"{shown}: a proxy of this kind cannot be used, only http, https and socks5")
    try:
        import httpx

        httpx.Proxy(f"{scheme}://{rest}")
        if not urlsplit(f"{scheme}://{rest}").hostname or urlsplit(f"{scheme}://{rest}").port == 0:
            raise ValueError("it names no host and port")
    except (ValueError, httpx.InvalidURL) as error:
        raise UsageError(f"{shown}: this is not the address of a proxy ({error})") from None
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise UsageError(f"{shown}: a SOCKS proxy needs the package socksio (pip install socksio), or unset {name}")
    return f"{scheme}://{rest}"


def proxy_environment(url: str) -> dict[str, str | None]:
    """Return what to set and remove so that a library which reads the environment takes `proxy(url)`.

    Raises UsageError as `proxy` does.
    """
    way = proxy(url)
    kept = {"https_proxy": way, "http_proxy": way} if way else {"no_proxy": "*"}
    return {**dict.fromkeys(PROXY_VARIABLES), **kept}


def exempt(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether NO_PROXY names a host: by name, domain, address, network (10.0.0.0/8), with a port or as `*`.

    >>> exempt("10.1.2.3", 80, "[::1], 10.0.0.0/8"), exempt("hub.example.org", 443, ".example.org")
    (True, True)
    """
    return any(_names(entry, host.lower().rstrip("."), port) for entry in re.split(r"[\s,;]+", no_proxy.strip()))


def _names(entry: str, host: str, port: int | None) -> bool:
    """Return whether one entry of NO_PROXY names a host."""
    entry = entry.lower().strip(environment.QUOTES).partition("://")[2 if "://" in entry else 0].rstrip("/")
    if entry == "*":
        return True
    if found := re.fullmatch(r"(\[[^\]]*\]|[^:]+):(\d+)", entry):
        if int(found[2]) != port:
            return False
        entry = found[1]
    entry = entry.strip("[]").removeprefix("*").strip(".")
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except (ValueError, TypeError):
        return host == entry or host.endswith(f".{entry}")


def _variable(kind: str) -> str:
    """Return the variable that sets the proxy of a kind, or the words for the system's own setting."""
    names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    return next((name for name in names if environment.value(name)), f"the system's {kind} proxy")


def _parsed(name: str, given: str, port: int | None) -> Address:
    """Read an address. With a default port a URL always has one: the scheme's where a scheme is given.

    Raises UsageError, whose message begins with `name` and shows no password.
    """
    scheme, user, rest = _divided(given)
    shown = f"{name}{given.replace(f'{user}@', '***@') if user else given}"
    hint = "write it like http://127.0.0.1:8080"
    if scheme not in ("", "http", "https"):
        raise UsageError(f"{shown}: the scheme {scheme} is neither http nor https; {hint}")
    authority, _, path = re.split(r"[?#]", rest)[0].partition("/")
    host, number = _host_and_port(authority)
    if not re.fullmatch(r"[\w.-]+|\[[0-9a-f:.]+\]", host, re.I) or "://" in rest or re.search(r"\s", path):
        raise UsageError(f"{shown}: {host or 'nothing'} is not a host name; {hint}")
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise UsageError(f"{shown}: {host} is not a host name; {hint}") from None
    if number and not (re.fullmatch(r"[0-9]{1,5}", number) and 0 < int(number) < 65536):
        raise UsageError(f"{shown}: the port {number} is not a number from 1 to 65535; {hint}")
    if not number and port is not None:
        number = str({"http": 80, "https": 443}.get(scheme, port))
    url = f"{scheme or 'http'}://{host}" + (f":{int(number)}" if number else "")
    path = "/".join(part for part in path.split("/") if part)
    credentials = base64.b64encode(unquote(user).encode()).decode()
    return Address(f"{url}/{path}" if path else url, {"Authorization": f"Basic {credentials}"} if user else {})


def _divided(text: str) -> tuple[str, str, str]:
    """Split an address into scheme, user:password and the rest: "http:/a:b@host" -> "http", "a:b", "host"."""
    found = re.match(r"(?i)(https?):/{1,3}(?=[^/])|([a-z][a-z0-9+.-]*)://", text)
    scheme, rest = ((found[1] or found[2]).lower(), text[found.end() :]) if found else ("", text.removeprefix("//"))
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if not at and "@" in path:  # a password with a slash in it
        user, _, host = rest.rpartition("@")
        return scheme, user, host
    return scheme, user, host + slash + path


def _host_and_port(authority: str) -> tuple[str, str]:
    """Split host and port; no host, 0.0.0.0, :: and * mean this machine, and an IPv6 address gets its brackets."""
    name, separator, port = authority.rpartition(":")
    if not separator or "]" in port or (":" in name and not name.endswith("]")):  # no port, [v6], bare v6
        name, port = authority, ""
    name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        return ("127.0.0.1" if name in ("", "*") else name), port
    name = ("127.0.0.1" if ip.version == 4 else "::1") if ip.is_unspecified else name
    return (f"[{name}]" if ip.version == 6 else name), port
