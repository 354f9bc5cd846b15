"""The log files of the ranks, as ``vprtrain launch`` shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vprtrain.ranks.rank_logs import log_lines, log_tail


def test_a_description_and_its_details_are_one_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The launcher may end the process between two records. The details keep their line breaks."""
    path = tmp_path / "rank_1.log"
    path.write_bytes(b"first\nb\xfcro %s \x1b[1m\n")
    log_lines(f"rank 1 failed{log_tail(path)}")
    (record,) = caplog.records
    assert record.getMessage() == "rank 1 failed; rank_1.log ends with"
    assert record.exc_text == "  first\n  b\ufffdro %s \\x1b[1m"


def test_a_description_may_be_one_line(caplog: pytest.LogCaptureFixture) -> None:
    log_lines("rank 1 failed")
    (record,) = caplog.records
    assert (record.getMessage(), record.exc_text) == ("rank 1 failed", None)
