"""The secret that the ranks of a run share, so that no stranger takes part in their control
connections.

``vprtrain launch`` makes one for its ranks and puts it into their environment. For a run on several
machines, the user sets it in the environment of each launch. Under another launcher on one machine,
rank 0 makes the secret and writes it to a file that only this user can read. Paddle's store tells
the other ranks the path: anybody who reaches the store's port can read and change what is in it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vprtrain.errors import RunError, UsageError
from vprtrain.ranks.rank_process import SECRET, SECRET_FILE

_LEAST_BYTES = 16
_MADE_SECRET = re.compile(rb"[0-9a-f]{64}")


def new_secret() -> bytes:
    """A random secret of 256 bits."""
    return secrets.token_hex(32).encode()


def given_secret(*, machines: int) -> bytes | None:
    """The secret of the environment; ``None`` without one on a single machine.

    Args:
        machines: the number of machines of the run, or 2 for any larger number.

    Raises:
        UsageError: the secret is too short, or a run on several machines has none.
    """
    value = os.environ.get(SECRET)
    if value is None:
        if machines > 1:
            raise UsageError(
                f"{SECRET} is not set, but a run on several machines needs it: set it to the same "
                "random text on all of them, for example what `openssl rand -hex 32` prints once"
            )
        return None
    secret = os.fsencode(value)
    if len(secret) < _LEAST_BYTES:
        raise UsageError(
            f"{SECRET} has {len(secret)} bytes; expected {_LEAST_BYTES} or more: set it to what "
            "`openssl rand -hex 32` prints"
        )
    return secret


@contextmanager
def shared_secret_file(
    *, first: bool, tell: Callable[[str], None], ask: Callable[[], bytes]
) -> Iterator[bytes]:
    """A secret that rank 0 makes and the other ranks of this machine read from a file.

    The file exists within the block in rank 0, which must not leave it before all ranks are in it.

    Args:
        first: whether this is rank 0.
        tell: tells the other ranks the path of the file.
        ask: the path that rank 0 has told.

    Raises:
        RunError: the file is not one that this user wrote for himself alone.
    """
    if not first:
        yield read_secret(ask())
        return
    with tempfile.TemporaryDirectory(prefix="vprtrain-secret-") as folder:
        secret = new_secret()
        tell(str(write_secret(Path(folder), secret)))
        yield secret


def write_secret(folder: Path, secret: bytes) -> Path:
    """Write the secret to a new file in ``folder`` that only this user can read."""
    path = folder / SECRET_FILE
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    return path


def read_secret(path: bytes) -> bytes:
    """The secret in a file of :func:`write_secret`.

    Args:
        path: may come from a stranger.

    Raises:
        RunError: the file is not one that this user wrote for himself alone.
    """
    try:
        # Neither a link nor a named pipe that would wait for a writer.
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(number, "rb") as file:
            found = os.fstat(number)
            private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
            secret = file.read(200) if private and stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise _unusable(path, f"{error.strerror}") from error
    except ValueError as error:  # no path can have a null byte
        raise _unusable(path, str(error)) from error
    if not _MADE_SECRET.fullmatch(secret):
        raise _unusable(path, "not a file that rank 0 wrote for this user alone")
    return secret


def _unusable(path: bytes, reason: str) -> RunError:
    return RunError(
        f"the secret of the run cannot be read from {path[:200]!r} ({reason}): run the command "
        f"under `vprtrain launch`, or set {SECRET} to the same random text for all ranks"
    )
