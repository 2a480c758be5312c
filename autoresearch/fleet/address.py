"""Define a fleet's address, and derive from the key in it the certificate that encrypts its traffic.

    autoresearch://10.0.0.5:8786#Zk3v...

Whoever has the address can run code on every member. Both sides derive the same certificate from the key, so that
nothing else has to be copied between machines. Each night has a key of its own.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from autoresearch.errors import UsageError

PORT = 8786
KEY_BYTES = 24
_ADDRESS = re.compile(r"autoresearch://(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})#([\w-]{16,128})")
_FROM, _TO = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)  # the key decides, not a date


@dataclass(frozen=True, slots=True)
class FleetAddress:
    """Where a fleet's scheduler listens, and the fleet's key."""

    host: str
    port: int
    key: str

    def __str__(self) -> str:
        return f"autoresearch://{self.host}:{self.port}#{self.key}"

    @property
    def url(self) -> str:
        """The scheduler's address in Dask's form."""
        return f"tls://{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The address without the key, for messages and logs."""
        return f"{self.host}:{self.port}"


def parse(text: str) -> FleetAddress:
    """Read the address that a coordinator printed. Raises UsageError.

    >>> parse("autoresearch://10.0.0.5:8786#abcdefghijklmnopqrst").port
    8786
    """
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or not 0 < int(found[2]) < 65536:
        raise UsageError(
            "that is not a fleet's address. Copy the whole line that the coordinator prints: "
            "loop.py join 'autoresearch://HOST:PORT#KEY'"
        )
    return FleetAddress(found[1], int(found[2]), found[3])


def new_key() -> str:
    """Return a key that nobody can guess."""
    return secrets.token_urlsafe(KEY_BYTES)


def own_host() -> str:
    """Return the address by which other machines of the network reach this one; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def certificate(key: str) -> tuple[str, str]:
    """Return certificate and private key of a fleet's key in PEM. The same key gives the same text everywhere."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = hashlib.sha256(b"autoresearch fleet " + key.encode()).digest()
    private = Ed25519PrivateKey.from_private_bytes(seed)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "autoresearch fleet")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(int.from_bytes(seed[:15]))
        .not_valid_before(_FROM)
        .not_valid_after(_TO)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, None)
    )
    encoded = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), encoded.decode()
