from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _logging_as_in_a_new_process() -> None:
    """Undo the set-up of logging by a command that an earlier test called in this process."""
    logger = logging.getLogger("vprtrain")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real speech and noise. Tests that need it are skipped if it is absent."""
    folder = Path(os.environ["VPRTRAIN_TEST_DATA"])
    if not folder.is_dir():
        pytest.skip(f"no real speech at {folder}: set VPRTRAIN_TEST_DATA")
    return folder
