"""Live recognition with unknown voices told apart: DER and accuracy, beside offline diarization.

    python benchmarks/live.py --checkpoint M --conversations FOLDER [--speech SPEECH]
    [--only PATTERN]

FOLDER has a .wav and a .rttm of each conversation (vprtrain simulate); nobody is enrolled. With
SPEECH they are those of unseen speakers that ``conversations.py`` makes, in ``FOLDER/eval``. Those
whose names differ in the last number only (libri2_clean_0000) are one row of the table.

A decision is compared twice with the reference: with the hop before it, as somebody sees it who
listens ("at the moment"), and with the middle of its window, which it is about ("of the window").
Voices without a number are missed speech. A second is right if the decision at its end names the
speaker who spoke most of it, numbers mapped to speakers as for the DER at the moment; seconds in
which nobody speaks do not count.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from conversations import make

from vprtrain import Predictor
from vprtrain.data.audio import read_blocks
from vprtrain.inference import Decision
from vprtrain.lists import Segment, read_rttm
from vprtrain.scoring.diarization import DiarizationErrors, score_diarization

COLLAR = 0.25
WINDOW, HOP = 1.5, 0.5
THRESHOLD = 0.45
"""Of smoothing; with nobody enrolled it decides nothing else."""


class Result(NamedTuple):
    """What was measured in one conversation."""

    moment: DiarizationErrors
    window: DiarizationErrors
    offline: DiarizationErrors
    right: int
    seconds: int
    cost: float
    """Processor seconds of a decision"""


def segments_of(decisions: Sequence[Decision], delay: float) -> list[Segment]:
    """What decisions say of the hop that lies ``delay`` seconds before their ends."""
    return [
        Segment(max(0.0, each.end - HOP - delay), each.end - delay, each.speaker)
        for each in decisions
        if each.speaker is not None and each.end > delay
    ]


def right_seconds(
    reference: list[Segment], decisions: Sequence[Decision], mapping: dict[str, str]
) -> tuple[int, int]:
    """The seconds whose last decision is right, and all in which somebody speaks."""
    said = {each.end: mapping.get(each.speaker or "") for each in decisions}
    right = seconds = 0
    for end in range(1, int(max(said)) + 1):
        spoken: dict[str, float] = defaultdict(float)
        for each in reference:
            spoken[each.speaker] += max(0.0, min(end, each.end) - max(end - 1, each.start))
        speaker = max(spoken, key=spoken.__getitem__)
        if spoken[speaker] >= 0.5:
            seconds += 1
            right += said.get(float(end)) == speaker
    return right, seconds


def measure(wav: Path, predictor: Predictor) -> Result:
    (reference,) = read_rttm(wav.with_suffix(".rttm")).values()
    stream = predictor.stream(window=WINDOW, hop=HOP, threshold=THRESHOLD, diarize=True)
    began = time.process_time()
    decisions = [each for block in read_blocks(wav) for each in stream.feed(block)]
    decisions += stream.finish()
    cost = (time.process_time() - began) / len(decisions)
    errors = [
        score_diarization(reference, found, collar=COLLAR)
        for found in (
            segments_of(decisions, 0.0),
            segments_of(decisions, (WINDOW - HOP) / 2),
            predictor.diarize(wav),
        )
    ]
    return Result(*errors, *right_seconds(reference, decisions, errors[0].mapping), cost)


def shown(title: str, results: Sequence[Result]) -> str:
    totals = [sum(column[1:], start=column[0]) for column in zip(*results, strict=True)]
    texts = [
        f"{name} {total.der:6.2%} (missed {total.rate(total.missed):.2%}, false alarm "
        f"{total.rate(total.false_alarm):.2%}, confusion {total.rate(total.confusion):.2%}; "
        f"found {', '.join(str(getattr(each, field).found_speakers) for each in results)})"
        for name, field, total in zip(
            ("at the moment", "of the window", "offline"), Result._fields, totals, strict=False
        )
    ]
    right, seconds, cost = totals[3:]
    return (
        f"{title:20} DER {'  '.join(texts)}  seconds right {right / seconds:.1%}  "
        f"{1000 * cost / len(results):.0f} ms of the processor a decision"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--conversations", type=Path, required=True)
    parser.add_argument("--speech", type=Path, help="makes the conversations that are missing")
    parser.add_argument("--only", default="*", help="a pattern of their names")
    options = parser.parse_args()
    folder = options.conversations
    if options.speech is not None:
        folder = make(options.speech.resolve(), folder.resolve(), split="eval", only=options.only)
    predictor = Predictor(options.checkpoint, device="cpu", vad="auto", runtime="auto")
    rows: dict[str, list[Result]] = defaultdict(list)
    for wav in sorted(folder.glob(f"{options.only}.wav")):
        result = measure(wav, predictor)
        rows[re.sub(r"_\d+$", "", wav.stem)].append(result)
        print(shown(wav.stem, [result]), flush=True)
    print()
    for title, results in rows.items():
        print(shown(title, results), flush=True)


if __name__ == "__main__":
    main()
