"""Import the official Ollama client, whatever the environment holds.

It builds a client of its own as it is imported, and fails there where a variable names no usable proxy, host or file.
The loop makes its clients with what addresses.py finds, and never uses that one.
"""

from __future__ import annotations

from autoresearch.environment import replaced
from autoresearch.system.addresses import PROXY_VARIABLES

with replaced(dict.fromkeys((*PROXY_VARIABLES, "OLLAMA_HOST", "SSL_CERT_FILE", "SSL_CERT_DIR"))):
    import ollama as ollama
