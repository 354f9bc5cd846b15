"""The log files of the ranks, as ``vprtrain launch`` shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vprtrain.ranks.rank_logs import log_lines, log_tail


def test_each_line_of_a_tail_is_a_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A formatter that escapes line breaks in a record then keeps these."""
    path = tmp_path / "rank_1.log"
    path.write_bytes(b"first\nb\xfcro %s\n")
    log_lines(f"rank 1 failed{log_tail(path)}")
    assert caplog.messages == ["rank 1 failed; rank_1.log ends with", "  first", "  b\ufffdro %s"]
    log_lines("")
    assert len(caplog.messages) == 3
