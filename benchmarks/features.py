"""The cost of a batch's features on the CPU: vprtrain, ppvector, kaldi-native-fbank's filter
banks, and the least that filter banks take in NumPy and SciPy.

The batch is 64 x 3 s at 16 kHz; means are subtracted, and there are no gradients. Every contestant
is a process of its own, and they take turns. ppvector runs twice: unchanged, and with the switch
that lets its MKL use AVX2 on an AMD processor, which vprtrain sets by itself.

    python benchmarks/features.py [--peer PYTHON] [--kaldi PYTHON] [--features Fbank MFCC ...]
    [--seconds S]

The peer's PYTHON is an interpreter with ``ppvector==1.0.2 paddlepaddle==2.6.2 "numpy<2"``, Kaldi's
is one with ``kaldi-native-fbank numpy`` (by default this interpreter, if it has them). A contestant
without an interpreter is left out. The table shows medians of CPU milliseconds (all threads) and
wall-clock milliseconds and, as a check, the sum of the first frame's magnitudes. A ratio is the
contestant's figure divided by ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peer import OURS, Contestant, Turn, ppvector_contestants, take_turns

WORKERS = Path(__file__).parent / "workers"
STFT = {"n_fft": 512, "hop_length": 160}
# The options that make our feature and ppvector's the same.
FEATURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Fbank": ({"n_mels": 80}, {"sr": 16000, "n_mels": 80}),
    "MFCC": ({**STFT, "n_mels": 80}, {**STFT, "sr": 16000, "n_mels": 80}),
    "LogMelSpectrogram": ({**STFT, "n_mels": 80}, {**STFT, "sr": 16000, "n_mels": 80}),
    "MelSpectrogram": ({**STFT, "n_mels": 80}, {**STFT, "sr": 16000, "n_mels": 80}),
    "Spectrogram": ({**STFT, "power": 2.0}, {**STFT, "power": 2.0}),
}
KALDI, LIMIT = "kaldi-native-fbank", "FFT, filters, log"


def measure(feature: str, options: argparse.Namespace) -> dict[str, Turn]:
    our_arguments, peer_arguments = FEATURES[feature]
    sizes = {"batch": options.batch, "samples": round(options.duration * 16000)}
    our_options = {
        "feature": feature,
        "arguments": our_arguments,
        "threads": options.threads,
        **sizes,
    }
    contestants = {OURS: Contestant(WORKERS / "features_ours.py", "extraction", our_options)}
    if feature == "Fbank":
        contestants[LIMIT] = Contestant(
            WORKERS / "features_limit.py",
            "extraction",
            sizes,
            environment={"OMP_NUM_THREADS": str(options.threads)},
        )
    if feature == "Fbank" and options.kaldi:
        contestants[KALDI] = Contestant(
            WORKERS / "features_kaldi.py",
            "extraction",
            sizes,
            python=options.kaldi,
            environment={"OMP_NUM_THREADS": str(options.threads)},
        )
    contestants |= ppvector_contestants(
        WORKERS / "features_ppvector.py",
        "extraction",
        {"feature": feature, "arguments": peer_arguments, **sizes},
        python=options.peer,
        threads=options.threads,
    )
    return take_turns(contestants, seconds=options.seconds)


def report(feature: str, figures: Mapping[str, Turn]) -> None:
    ours = figures[OURS]
    for name, turn in figures.items():
        line = f"{feature:17} {name:22} {1e3 * turn.cpu:7.1f} {1e3 * turn.wall:7.1f}"
        line += f" {turn.value:11.5g}"
        if name != OURS:
            line += f" {turn.cpu / ours.cpu:7.2f}x {turn.wall / ours.wall:6.2f}x"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has ppvector 1.0.2")
    own = sys.executable if importlib.util.find_spec("kaldi_native_fbank") else None
    parser.add_argument(
        "--kaldi", metavar="PYTHON", default=own, help="an interpreter that has kaldi-native-fbank"
    )
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=list(FEATURES))
    parser.add_argument("--threads", type=int, default=1, help="threads of each contestant")
    parser.add_argument(
        "--seconds",
        type=float,
        default=5,
        help="seconds of measured turns per feature, at least one round",
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--duration", type=float, default=3.0, help="seconds of an utterance")
    options = parser.parse_args()
    print(f"batch {options.batch} x {options.duration} s, {options.threads} thread(s)")
    print(
        f"{'feature':17} {'contestant':22} {'CPU ms':>7} {'wall ms':>7} {'first frame':>11} "
        f"{'CPU':>8} "
        f"{'wall':>7}"
    )
    for feature in options.features:
        report(feature, measure(feature, options))


if __name__ == "__main__":
    main()
