from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_command_has_set_up_logging() -> None:
    """As in a new process: a command that an earlier test called in this one may have."""
    logger = logging.getLogger("vprtrain")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real speech and noise; tests that need it are skipped where it is absent."""
    folder = Path(os.environ["VPRTRAIN_TEST_DATA"])
    if not folder.is_dir():
        pytest.skip(f"no real speech at {folder}: set VPRTRAIN_TEST_DATA")
    return folder
