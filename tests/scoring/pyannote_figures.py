"""Write ``pyannote_figures.json`` beside this file. Run it in an environment with pyannote.metrics
4.2.0 and without vprtrain:

PYTHONPATH=tests python tests/scoring/pyannote_figures.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate
from random_timelines import TIMELINES, Turn, random_case


def annotation(turns: list[Turn]) -> Annotation:
    found = Annotation()
    for number, (start, end, speaker) in enumerate(turns):
        found[Segment(start, end), number] = speaker
    return found


def figures(seed: int) -> list[float]:
    """Speech, missed, false alarm and confusion in seconds, DER and JER."""
    case = random_case(seed)
    reference, hypothesis = annotation(case.reference), annotation(case.hypothesis)
    extent = (reference.get_timeline() | hypothesis.get_timeline()).extent()
    parts = [Segment(*part) for part in case.scored] if case.scored is not None else [extent]
    # pyannote's collar is the width of the zone around a boundary.
    options = {"collar": 2 * case.collar, "skip_overlap": case.skip_overlap}
    uem = Timeline(parts)
    der = DiarizationErrorRate(**options)(reference, hypothesis, uem=uem, detailed=True)
    jer = JaccardErrorRate(**options)(reference, hypothesis, uem=uem)
    names = ("total", "missed detection", "false alarm", "confusion", "diarization error rate")
    return [float(f"{value:.9g}") for value in (*(der[name] for name in names), jer)]


if __name__ == "__main__":
    content = {
        "source": f"pyannote.metrics {version('pyannote.metrics')}",
        "columns": ["speech", "missed", "false_alarm", "confusion", "der", "jer"],
        "figures": [figures(seed) for seed in range(TIMELINES)],
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(path.name)
