"""The copy of a database of voiceprints into another one."""

from __future__ import annotations

from vprtrain.errors import UsageError
from vprtrain.voiceprints.codes import codes_of, dimension_of
from vprtrain.voiceprints.rows import names_of, vector_of
from vprtrain.voiceprints.store import Store


def copy_users(source: Store, target: Store) -> int:
    """Copy all users, the same to the bit, and give their number. Both stores are in a transaction.

    Raises:
        UsageError: the target has users.
        ValueError: a row of the source is not right.
    """
    if target.some_code() is not None:
        raise UsageError(f"{target.place} has users already: give an empty database")
    copied = 0
    for rows in source.codes():
        ids, names, codes = zip(*rows, strict=True)
        records = codes_of(names, codes, dimension_of(codes[0]))
        stored = {key: blob for key, _, blob in source.voiceprints(ids)}
        for key, name, code in zip(ids, names_of(names), records, strict=True):
            recordings = source.recordings(key)
            for row in recordings:
                vector_of(row.embedding)
            user = target.insert(name, code.tobytes(), vector_of(stored[key]).tobytes())
            target.record(user, recordings)
            target.note_change(user)
        copied += len(rows)
    return copied
