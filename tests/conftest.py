from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real speech and noise; tests that need it are skipped where it is absent."""
    folder = Path(os.environ["VPRTRAIN_TEST_DATA"])
    if not folder.is_dir():
        pytest.skip(f"no real speech at {folder}: set VPRTRAIN_TEST_DATA")
    return folder
