"""Diarization: DER on folders of conversations, beside 3D-Speaker's clustering; speed and memory.

    python benchmarks/diarization.py --checkpoint M --conversations FOLDER [--speech SPEECH]
    [--only PATTERN] [--cache FOLDER] [--peer CLUSTER.py] [--hours H]

FOLDER has a .wav and a .rttm of each conversation (vprtrain simulate). With SPEECH they are those
of unseen speakers that ``conversations.py`` makes, in ``FOLDER/eval``. Those whose names differ in
the last number only (libri2_clean_0000) are one row of the table. Embeddings are computed once and
used by all clusterings. "VAD alone" leaves speech as it was detected. With --hours, the
conversations make up one recording of this length, whose processor time and memory are measured
instead. CLUSTER.py is speakerlab/process/cluster.py of 3D-Speaker, which needs fastcluster,
umap-learn and hdbscan; its settings are those of infer_diarization.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from conversations import make

from vprtrain.data.audio import read_blocks
from vprtrain.data.vad import open_detector
from vprtrain.diarization import Clustering, Diarizer, EmbeddedWindows, WindowEmbedder
from vprtrain.extractors.opening import open_extractor
from vprtrain.lists import Segment, read_rttm
from vprtrain.scoring.diarization import DiarizationErrors, score_diarization

COLLAR = 0.25
GAPS = "gaps_"
Method = Callable[[EmbeddedWindows, int | None], list[Segment]]


class Result(NamedTuple):
    """The errors in one conversation."""

    errors: DiarizationErrors
    alone: DiarizationErrors
    """The same where at most one speaker speaks"""


Row = dict[tuple[str, str], list[Result]]


def ours(embedder: WindowEmbedder, method: str) -> Method:
    diarizer = Diarizer(embedder=embedder, clustering=Clustering(method=method))

    def segments(windows: EmbeddedWindows, num_speakers: int | None) -> list[Segment]:
        found = diarizer.turns(windows, num_speakers=num_speakers)
        return [Segment(turn.start, turn.end, str(turn.speaker)) for turn in found.turns]

    return segments


def by_detector(method: Method) -> Method:
    """The same, but speech is what the VAD says."""
    return lambda windows, num_speakers: method(replace(windows, gaps=None), num_speakers)


def peer(path: str) -> Method:
    spec = importlib.util.spec_from_file_location("cluster", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def segments(windows: EmbeddedWindows, num_speakers: int | None) -> list[Segment]:
        np.random.seed(0)
        cluster = module.CommonClustering(
            **{"cluster_type": "spectral", "mer_cos": 0.8, "min_num_spks": 1, "max_num_spks": 15},
            **{"min_cluster_size": 4, "oracle_num": None, "pval": 0.012},
        )
        labels = cluster(windows.embeddings.astype(float), speaker_num=num_speakers)
        rows = zip(windows.times.tolist(), labels.tolist(), strict=True)
        return compressed([[start, end, label] for (start, end), label in rows])

    return segments


def compressed(rows: list[list]) -> list[Segment]:
    """3D-Speaker's ``compressed_seg``: a change is in the middle of what two windows share."""
    kept: list[list] = []
    for start, end, label in rows:
        if kept and start <= kept[-1][1] and label == kept[-1][2]:
            kept[-1][1] = end
            continue
        if kept and start < kept[-1][1]:
            kept[-1][1] = start = (kept[-1][1] + start) / 2
        kept.append([start, end, label])
    return [Segment(start, end, str(label)) for start, end, label in kept]


def windows_of(wav: Path, embedder: WindowEmbedder, cache: Path | None) -> EmbeddedWindows:
    kept = None if cache is None else cache / f"{wav.stem}.npz"
    if kept is None or not kept.exists():
        found = embedder.embed_blocks(read_blocks(wav, sample_rate=embedder.sample_rate))
        if kept is None:
            return found
        np.savez(kept, **arrays_of(found, ""), **arrays_of(found.gaps, GAPS))
    arrays = np.load(kept)
    return replace(of_arrays(arrays, ""), gaps=of_arrays(arrays, GAPS))


def arrays_of(windows: EmbeddedWindows, prefix: str) -> dict[str, np.ndarray]:
    names = ("speech", "times", "embeddings")
    return {prefix + name: np.array(getattr(windows, name)) for name in names}


def of_arrays(arrays: Mapping[str, np.ndarray], prefix: str) -> EmbeddedWindows:
    return EmbeddedWindows(
        speech=[(start, end) for start, end in arrays[prefix + "speech"].tolist()],
        times=arrays[prefix + "times"],
        embeddings=arrays[prefix + "embeddings"],
    )


def measure(
    wavs: list[Path], embedder: WindowEmbedder, methods: dict[str, Method], cache: Path | None
) -> None:
    rows: dict[str, Row] = {}
    for wav in wavs:
        (reference,) = read_rttm(wav.with_suffix(".rttm")).values()
        speakers = len({segment.speaker for segment in reference})
        windows = windows_of(wav, embedder, cache)
        row = rows.setdefault(re.sub(r"_\d+$", "", wav.stem), defaultdict(list))
        for name, method in methods.items():
            for known, number in (("unknown", None), ("known", speakers)):
                found = method(windows, number)
                result = Result(
                    score_diarization(reference, found, collar=COLLAR),
                    score_diarization(reference, found, collar=COLLAR, skip_overlap=True),
                )
                row[name, known].append(result)
        print_rows({wav.stem: row}, last=True)
    print()
    print_rows(rows)


def print_rows(rows: dict[str, Row], *, last: bool = False) -> None:
    for title, row in rows.items():
        for (name, known), results in row.items():
            chosen = results[-1:] if last else results
            total, alone = (sum(each[1:], start=each[0]) for each in zip(*chosen, strict=True))
            numbers = ", ".join(
                f"{each.errors.found_speakers}/{each.errors.speakers}" for each in chosen
            )
            print(
                f"{title:24} {name:16} number {known:8} DER {total.der:6.2%}  missed "
                f"{total.rate(total.missed):.2%} (overlap "
                f"{total.rate(total.missed - alone.missed):.2%})  false alarm "
                f"{total.rate(total.false_alarm):.2%}  confusion "
                f"{total.rate(total.confusion):.2%}  speakers {numbers}",
                flush=True,
            )


def measure_length(hours: float, wavs: list[Path], embedder: WindowEmbedder) -> None:
    """Conversations, one after the other, as a recording of so many hours."""
    rate = embedder.sample_rate

    def blocks() -> Iterator[np.ndarray]:
        left = round(hours * 3600 * rate)
        while left > 0:
            for wav in wavs:
                for block in read_blocks(wav, sample_rate=rate):
                    yield block[:left]
                    left -= len(block)
                    if left <= 0:
                        return

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    alone = Diarizer(embedder=replace(embedder, with_gaps=False))
    whole = Diarizer(embedder=embedder)
    used = {alone: 0.0, whole: 0.0}
    for diarizer in (alone, whole) * 2:
        began = time.process_time()
        windows = diarizer.embedder.embed_blocks(blocks())
        embedded = time.process_time()
        found = diarizer.turns(windows)
        ended = time.process_time()
        used[diarizer] += (ended - began) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{hours:g} h: {len(windows):,} windows and {len(windows.gaps or []):,} of gaps, "
        f"{len(found.voices)} speakers; processor seconds {embedded - began:.0f} to embed and "
        f"{ended - embedded:.0f} to cluster, real-time factor {used[whole] / hours / 3600:.4f}, "
        f"{used[whole] / used[alone]:.2f} times that of the VAD alone; peak memory "
        f"{peak / 1024:.0f} MiB, of which {before / 1024:.0f} MiB before"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--conversations", type=Path, required=True)
    parser.add_argument("--speech", type=Path, help="makes the conversations that are missing")
    parser.add_argument("--only", default="*", help="a pattern of their names")
    parser.add_argument("--cache", type=Path, help="a folder that keeps embeddings")
    parser.add_argument("--hours", type=float)
    parser.add_argument("--peer")
    options = parser.parse_args()
    extractor, detector = open_extractor(options.checkpoint, "cpu"), open_detector("auto")
    embedder = WindowEmbedder(
        embed=extractor.embed,
        segments=lambda waveform: detector(waveform, extractor.sample_rate),
        prepared=lambda waveform: waveform,
        sample_rate=extractor.sample_rate,
    )
    folder = options.conversations
    if options.speech is not None:
        folder = make(options.speech.resolve(), folder.resolve(), split="eval", only=options.only)
    wavs = sorted(folder.glob(f"{options.only}.wav"))
    if options.hours:
        measure_length(options.hours, wavs, embedder)
        return
    methods = {name: ours(embedder, name) for name in ("vbx", "spectral")}
    methods["vbx, VAD alone"] = by_detector(methods["vbx"])
    if options.peer:
        methods["3D-Speaker"] = peer(options.peer)
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    measure(wavs, embedder, methods, options.cache)


if __name__ == "__main__":
    main()
