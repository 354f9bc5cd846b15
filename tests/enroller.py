"""A script that enrols and recognises users until it is killed: ``enroller.py DATABASE NUMBER
COUNT``.

It prints a line for each enrolment that returned, and for each user that it then does not
recognise. It removes every tenth user again. When the database fails, it prints a line with the
user, and goes on with the next one.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from vprtrain.errors import RunError
from vprtrain.voiceprints.database import Voiceprints

MODEL = "ab" * 32
RECORDINGS = 3


def recordings(user: str) -> np.ndarray:
    """The embeddings of a user's recordings, float32 ``[RECORDINGS, 192]``: a vector with noise."""
    rng = np.random.default_rng(list(user.encode()))
    return (rng.standard_normal(192) + 0.3 * rng.standard_normal((RECORDINGS, 192))).astype(
        "float32"
    )


def enroll(voiceprints: Voiceprints, user: str, *, remove: bool) -> None:
    assert voiceprints.add(user, recordings(user)) == RECORDINGS
    print(f"enrolled\t{user}", flush=True)
    found, _ = voiceprints.nearest(recordings(user)[0])
    if found != user:
        print(f"mistook\t{user}\t{found}", flush=True)
    if remove:
        print(f"removing\t{user}", flush=True)
        assert voiceprints.remove(user)
        print(f"removed\t{user}", flush=True)


def main(path: str, number: str, count: int) -> None:
    voiceprints = Voiceprints(path, model=MODEL)
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(count):
        user = f"user {number}-{turn}"
        try:
            enroll(voiceprints, user, remove=turn % 10 == 9)
        except RunError as error:
            print(f"failed\t{user}\t{error}", flush=True)
            time.sleep(1)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
