"""Enrols and recognises until it is killed: ``enroller.py DATABASE NUMBER COUNT``.

Says a line for every enrolment that it was told is done, and for everybody it then does not
recognise. Every tenth user it removes again.
"""

from __future__ import annotations

import sys

import numpy as np

from vprtrain.voiceprints.database import Voiceprints

MODEL = "ab" * 32
RECORDINGS = 3


def recordings(user: str) -> np.ndarray:
    """Those of a user, float32 ``[RECORDINGS, 192]``: one voice with some noise."""
    rng = np.random.default_rng(list(user.encode()))
    return (rng.standard_normal(192) + 0.3 * rng.standard_normal((RECORDINGS, 192))).astype(
        "float32"
    )


def main(path: str, number: str, count: int) -> None:
    voiceprints = Voiceprints(path, model=MODEL)
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(count):
        user = f"user {number}-{turn}"
        assert voiceprints.add(user, recordings(user)) == RECORDINGS
        print(f"enrolled\t{user}", flush=True)
        found, _ = voiceprints.nearest(recordings(user)[0])
        if found != user:
            print(f"mistook\t{user}\t{found}", flush=True)
        if turn % 10 == 9:
            print(f"removing\t{user}", flush=True)
            assert voiceprints.remove(user)
            print(f"removed\t{user}", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
