"""A PostgreSQL server with pgvector for tests: that of the wheel pgserver, on a socket of its own.

``initdb`` and ``postgres`` refuse the superuser. Then they run as ``nobody``, from a copy of the
wheel's files, because nobody may not be able to enter the folder of the installation.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from processes import children, is_alive, wait_until

NOBODY = 65534
DEADLINE = 120
"""Seconds; the machine may be busy."""


def require_postgres() -> None:
    """Skip the test where pgserver or psycopg is not installed."""
    for module in ("pgserver", "psycopg"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


class PostgresServer:
    """A running server. Its folder is removed by :meth:`close`."""

    def __init__(self) -> None:
        require_postgres()
        spec = importlib.util.find_spec("pgserver")
        package = Path(spec.submodule_search_locations[0])
        self.folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path is short
        self._as_user: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            for part in (package, package.with_name("pgserver.libs")):
                if part.exists():
                    shutil.copytree(part, self.folder / part.name)
            package = self.folder / package.name
            self.folder.chmod(0o755)
            self._as_user |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self._binaries = package / "pginstall" / "bin"
        (self.folder / "run").mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self.folder / "run", NOBODY, NOBODY)
        self._data = self.folder / "run" / "data"
        options = "-U postgres --auth=trust -E utf8 --no-locale --no-sync"
        subprocess.run(
            [self._binaries / "initdb", "-D", self._data, *options.split()],
            check=True,
            capture_output=True,
            timeout=DEADLINE,
            **self._as_user,
        )
        with open(self._data / "postgresql.conf", "a") as settings:
            settings.write("listen_addresses = ''\nmax_connections = 50\n")
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers. After a kill, its processes may still end:
        the server does not start before."""
        import psycopg

        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                with open(self.folder / "log", "ab") as log:
                    self._process = subprocess.Popen(
                        [self._binaries / "postgres", "-D", self._data, "-k", self.folder / "run"],
                        stdout=log,
                        stderr=log,
                        **self._as_user,
                    )
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        raise TimeoutError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """SIGKILL. The processes of connections end when they see it, and this waits for them: a
        connection might be answered until then."""
        assert self._process is not None
        connections = children(self._process.pid)
        self._process.kill()
        self._process.wait()
        wait_until(lambda: not any(map(is_alive, connections)), DEADLINE)

    def url(self, database: str) -> str:
        return f"postgresql://postgres:secret@/{database}?host={self.folder / 'run'}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        import psycopg

        self._databases += 1
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE test{self._databases}")
        return self.url(f"test{self._databases}")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(DEADLINE)
        shutil.rmtree(self.folder)
