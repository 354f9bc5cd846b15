"""The URLs of PostgreSQL databases, which may have a password in them."""

from __future__ import annotations

import re

_SCHEMES = ("postgresql://", "postgres://")
_HOST = r"([\w.%-]*|\[[0-9a-fA-F:.]+\])(:\d*)?"
_HOSTS = re.compile(f"{_HOST}(,{_HOST})*")


def is_postgres_url(location: str) -> bool:
    """Whether a location is the URL of a PostgreSQL database rather than a file."""
    return location.startswith(_SCHEMES)


def shown_url(url: str) -> str:
    """A URL for messages: without the password, and without parameters other than the host, because
    a password may be among them. Of a URL that can be read in several ways only the scheme stays.
    """
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    authority, slash, database = address.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    user = credentials.partition(":")[0]
    if "@" in database + query or "#" in url or not _HOSTS.fullmatch(hosts):
        return f"{scheme}://..."
    host = [part for part in query.split("&") if part.startswith("host=")]
    return "".join(
        [
            scheme,
            "://",
            user,
            at if user else "",
            hosts,
            slash,
            database,
            "?" if host else "",
            *host,
        ]
    )
