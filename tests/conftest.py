from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from quick_disk import return_at_once


@pytest.fixture(autouse=True)
def _logging_as_in_a_new_process() -> None:
    """Undo the set-up of logging by a command that an earlier test called in this process."""
    logger = logging.getLogger("vprtrain")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """Make ``os.fsync`` return at once in the tests' own process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", return_at_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _converted_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep converted models in a folder of the tests, also those of child processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPRTRAIN_CACHE", str(tmp_path_factory.mktemp("converted")))
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real speech and noise. Tests that need it are skipped if it is absent."""
    folder = Path(os.environ["VPRTRAIN_TEST_DATA"])
    if not folder.is_dir():
        pytest.skip(f"no real speech at {folder}: set VPRTRAIN_TEST_DATA")
    return folder
