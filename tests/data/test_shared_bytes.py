"""What one process writes is what another one reads, also after the memory has grown."""

from __future__ import annotations

import os

from vprtrain.data.shared_bytes import SharedBytes


def test_bytes_are_read_where_they_were_written() -> None:
    ours = SharedBytes()
    theirs = SharedBytes(os.dup(ours.descriptor))
    for round_ in range(3):
        theirs.clear()
        written = [os.urandom(size) for size in (0, 3, 5000, 1, 300_000 * (round_ + 1))]
        places = [theirs.append(memoryview(data)) for data in written]
        read = [ours.read(*place) for place in places]
        assert read == written
    theirs.clear()
    theirs.append(memoryview(bytes(1000)))
    assert read == written  # copies, which later bytes leave alone
    ours.close()
    theirs.close()


def test_the_counter_is_seen_by_both_while_the_memory_grows() -> None:
    ours = SharedBytes()
    theirs = SharedBytes(os.dup(ours.descriptor))
    theirs.counter = 7
    theirs.append(memoryview(bytes(1 << 20)))
    assert ours.counter == 7
    theirs.counter = 255
    assert ours.counter == 255
    ours.counter = 0
    assert theirs.counter == 0
    ours.close()
    theirs.close()
