"""What a service allows, and where it listens."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from vprtrain.errors import UsageError, require_number, require_whole
from vprtrain.serving.tokens import Tokens


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, and all requests together, may take.

    Raises:
        UsageError: a value is out of its range.
    """

    max_bytes: int = 32 << 20
    """Of a request's body"""
    max_recordings: int = 20
    """In a request"""
    max_seconds: float = 120.0
    """Of each recording; of a longer one the beginning is used."""
    max_diarize_seconds: float = 600.0
    """The same for a conversation that is diarized"""
    max_diarizations: int = 4
    """That run at once; more are answered with 429."""
    max_requests: int = 64
    """That run or wait at once; more are answered with 429."""
    max_streams: int = 8
    """WebSockets at once"""
    time_limit: float = 30.0
    """Seconds for a request to begin, for its body to come, for decoding a recording, and between
    two messages of a stream"""
    workers: int = field(default_factory=cores)
    """Processes that decode uploads"""

    def of_one_recording(self) -> Limits:
        """The same for a request with one recording."""
        return replace(self, max_recordings=1)

    def __post_init__(self) -> None:
        for name in (
            *("max_bytes", "max_recordings", "max_requests", "max_diarizations"),
            *("max_streams", "workers"),
        ):
            require_whole(name, vars(self)[name], 1)
        for name in ("max_seconds", "max_diarize_seconds", "time_limit"):
            require_number(name, vars(self)[name], above=0)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where a service listens, and to whom.

    Raises:
        UsageError: the address is not the machine's own and there are no tokens, or one file of the
            TLS pair is missing.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0 chooses a free one."""
    tokens: Tokens | None = None
    """Without them only this machine can be served."""
    certificate: Path | None = None
    """For TLS: the chain, in PEM"""
    key: Path | None = None
    """For TLS: the private key, in PEM"""
    origins: tuple[str, ...] = ()
    """Origins of other sites whose pages may call the service, for example ``https://a.example``"""

    def __post_init__(self) -> None:
        require_whole("port", self.port, 0, 65535)
        if self.tokens is None and not is_loopback(self.host):
            raise UsageError(
                f"--host is {self.host}, which other machines reach: give a file of tokens "
                "(--token_file), or serve this machine only (--host 127.0.0.1)"
            )
        if (self.certificate is None) != (self.key is None):
            raise UsageError("TLS needs two files: --tls_certificate and --tls_key")
        for path in filter(None, (self.certificate, self.key)):
            if not path.is_file():
                raise UsageError(f"{path} is not a file: expected one in PEM for TLS")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
