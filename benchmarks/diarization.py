"""Diarization: DER on folders of conversations, beside 3D-Speaker's clustering; speed and memory.

    python benchmarks/diarization.py --checkpoint M --conversations FOLDER [--only PATTERN]
    [--cache FOLDER] [--peer CLUSTER.py] [--hours H]

FOLDER has a .wav and a .rttm of each conversation (vprtrain simulate). Those whose names differ in
the last number only (libri2_clean_0000) are one row of the table. Embeddings are computed once and
used by all clusterings. With --hours, the conversations make up one recording of this length, whose
processor time and memory are measured instead. CLUSTER.py is speakerlab/process/cluster.py of
3D-Speaker, which needs fastcluster, umap-learn and hdbscan; its settings are those of
infer_diarization.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vprtrain.data.audio import read_blocks
from vprtrain.data.vad import open_detector
from vprtrain.diarization import Clustering, Diarizer, EmbeddedWindows, WindowEmbedder
from vprtrain.extractors.opening import open_extractor
from vprtrain.lists import Segment, read_rttm
from vprtrain.scoring.diarization import DiarizationErrors, score_diarization

COLLAR = 0.25
Method = Callable[[EmbeddedWindows, int | None], list[Segment]]


def ours(embedder: WindowEmbedder, method: str) -> Method:
    diarizer = Diarizer(embedder=embedder, clustering=Clustering(method=method))

    def segments(windows: EmbeddedWindows, num_speakers: int | None) -> list[Segment]:
        found = diarizer.turns(windows, num_speakers=num_speakers)
        return [Segment(turn.start, turn.end, str(turn.speaker)) for turn in found.turns]

    return segments


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
        np.savez(kept, speech=found.speech, times=found.times, embeddings=found.embeddings)
    arrays = np.load(kept)
    return EmbeddedWindows(
        speech=[(start, end) for start, end in arrays["speech"].tolist()],
        times=arrays["times"],
        embeddings=arrays["embeddings"],
    )


def measure(
    wavs: list[Path], embedder: WindowEmbedder, methods: dict[str, Method], cache: Path | None
) -> None:
    rows: dict[str, dict[tuple[str, str], list[DiarizationErrors]]] = {}
    for wav in wavs:
        (reference,) = read_rttm(wav.with_suffix(".rttm")).values()
        speakers = len({segment.speaker for segment in reference})
        windows = windows_of(wav, embedder, cache)
        row = rows.setdefault(re.sub(r"_\d+$", "", wav.stem), defaultdict(list))
        for name, method in methods.items():
            for known, number in (("unknown", None), ("known", speakers)):
                found = method(windows, number)
                row[name, known].append(score_diarization(reference, found, collar=COLLAR))
        print_rows({wav.stem: row}, last=True)
    print()
    print_rows(rows)


def print_rows(
    rows: dict[str, dict[tuple[str, str], list[DiarizationErrors]]], *, last: bool = False
) -> None:
    for title, row in rows.items():
        for (name, known), errors in row.items():
            chosen = errors[-1:] if last else errors
            total = sum(chosen[1:], start=chosen[0])
            numbers = ", ".join(f"{each.found_speakers}/{each.speakers}" for each in chosen)
            print(
                f"{title:24} {name:16} number {known:8} DER {total.der:6.2%}  missed "
                f"{total.rate(total.missed):.2%}  false alarm {total.rate(total.false_alarm):.2%}  "
                f"confusion {total.rate(total.confusion):.2%}  speakers {numbers}",
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
    began = time.process_time()
    windows = embedder.embed_blocks(blocks())
    embedded = time.process_time()
    found = Diarizer(embedder=embedder).turns(windows)
    ended = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{hours:g} h: {len(windows):,} windows, {len(found.voices)} speakers; processor seconds "
        f"{embedded - began:.0f} to embed and {ended - embedded:.0f} to cluster, real-time factor "
        f"{(ended - began) / hours / 3600:.4f}; peak memory {peak / 1024:.0f} MiB, of which "
        f"{before / 1024:.0f} MiB before"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--conversations", type=Path, required=True)
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
    wavs = sorted(options.conversations.glob(f"{options.only}.wav"))
    if options.hours:
        measure_length(options.hours, wavs, embedder)
        return
    methods = {name: ours(embedder, name) for name in ("vbx", "spectral")}
    if options.peer:
        methods["3D-Speaker"] = peer(options.peer)
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    measure(wavs, embedder, methods, options.cache)


if __name__ == "__main__":
    main()
