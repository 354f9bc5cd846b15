"""The URLs of PostgreSQL databases, which may have a password in them."""

from __future__ import annotations

from urllib.parse import urlsplit

_SCHEMES = ("postgresql://", "postgres://")


def is_postgres_url(location: str) -> bool:
    """Whether a location is the URL of a PostgreSQL database rather than a file."""
    return location.startswith(_SCHEMES)


def shown_url(url: str) -> str:
    """A URL for messages: without the password, and without parameters other than host and port,
    because a password may be among them."""
    scheme = url.partition("://")[0]
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2]
        user = parts.username
    except ValueError:
        return f"{scheme}://..."
    wanted = [p for p in parts.query.split("&") if p.partition("=")[0] in ("host", "port")]
    query = f"?{'&'.join(wanted)}" if wanted else ""
    return f"{scheme}://{f'{user}@' if user else ''}{hosts}{parts.path}{query}"
