"""Evaluation on trials: utterances embedded once, enrolments, missing recordings, resuming."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle
import pytest
import soundfile

import vprtrain.evaluation.evaluating as evaluating
from vprtrain.callbacks import EMA, Checkpoint, ResumeStep
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.data.manifest import read_recordings, write_manifest
from vprtrain.data.reading import Reading
from vprtrain.engine import Callback, DataModule, Engine, Run
from vprtrain.errors import UsageError
from vprtrain.evaluation import (
    EmbeddingRuntime,
    EvaluationTask,
    embedding_store,
    evaluate,
    report_folder,
)
from vprtrain.evaluation.trial_sets import AVERAGED, CONCATENATED, SINGLE
from vprtrain.features import Fbank
from vprtrain.losses import AAMLoss
from vprtrain.models import TDNN
from vprtrain.ranks import Ranks
from vprtrain.scoring.cosine import dot_products, score_trials, unit_sides
from vprtrain.scoring.metrics import compute_eer
from vprtrain.scoring.normalize import build_cohort, normalize_scores
from vprtrain.scoring.score_file import read_scores
from vprtrain.scoring.trials import read_enrollment, read_trials
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.module import SpeakerModule
from vprtrain.speaker.trials import TrialData

SPEAKERS = 4
ENROLLED = (0, 1)
TESTED = (2, 3, 4)


def voice(speaker: int, number: int) -> np.ndarray:
    rng = np.random.default_rng([speaker, number])
    samples = 9000 + 500 * (number % 3)
    phase = 2 * np.pi * (150 + 90 * speaker) * np.arange(samples) / 16000
    return (np.sign(np.sin(phase)) * 0.2 + 0.02 * rng.standard_normal(samples)).astype("float32")


@pytest.fixture
def task(tmp_path: Path) -> EvaluationTask:
    """Trials as in CN-Celeb: two utterances for enrolment, also as one concatenated recording."""
    rows: list[tuple[str, str, float | None]] = []

    def write(key: str, waveform: np.ndarray) -> None:
        soundfile.write(tmp_path / f"{key}.wav", waveform, 16000)
        rows.append((key, f"{key}.wav", len(waveform) / 16000))

    for speaker in range(SPEAKERS):
        for number in (*ENROLLED, *TESTED):
            write(f"s{speaker}-{number}", voice(speaker, number))
        write(f"s{speaker}-enroll", np.concatenate([voice(speaker, number) for number in ENROLLED]))
    write_manifest(tmp_path / "eval.tsv", rows)
    pairs = [(a, b, number) for a in range(SPEAKERS) for b in range(SPEAKERS) for number in TESTED]
    (tmp_path / "trials.txt").write_text(
        "".join(f"s{a}-enroll s{b}-{n} {int(a == b)}\n" for a, b, n in pairs)
    )
    (tmp_path / "enroll.map").write_text(
        "".join(f"s{a}-enroll s{a}-0 s{a}-1\n" for a in range(SPEAKERS))
    )
    files = {
        name: str(tmp_path / file)
        for name, file in (("trials", "trials.txt"), ("eval_manifest", "eval.tsv"))
    }
    return EvaluationTask(**files, enroll=str(tmp_path / "enroll.map"), workers=0)


@dataclass
class Voices(DataModule):
    evaluation: TrialData
    steps_per_epoch: int = 3

    def train_batches(self, epoch, start):
        for number in range(start, 3):
            waveforms = [voice(speaker, 10 * number + 9)[:8000] for speaker in range(SPEAKERS)]
            yield SpeakerBatch(np.stack(waveforms), np.arange(SPEAKERS))

    def validation_batches(self):
        return self.evaluation.validation_batches()

    def fingerprint(self):
        return {}


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no report: the plots would take longer than the rest of the test."""
    monkeypatch.setattr(evaluating, "write_report", lambda *_, **__: None)


Fitted = Callable[..., SavedCheckpoint]


@pytest.fixture
def fitted(task: EvaluationTask, tmp_path: Path) -> Fitted:
    """Trains a short run, validated on the trials; its last checkpoint."""

    def fit(*callbacks: Callback) -> SavedCheckpoint:
        paddle.seed(0)
        lists = {"trials": task.trials, "eval_manifest": task.eval_manifest, "enroll": task.enroll}
        evaluation = TrialData(**lists, reading=Reading(workers=0))
        model = TDNN(channels=16, pooled_channels=16, embedding_dim=16)
        parts = {"model": model, "feature": Fbank(mean_norm=True), "loss": AAMLoss()}
        module = SpeakerModule(**parts, num_classes=SPEAKERS, evaluation=evaluation)
        engine = Engine(
            run_dir=tmp_path / "run", max_epochs=2, callbacks=[*callbacks, Checkpoint()]
        )
        engine.fit(module, Voices(evaluation))
        return open_checkpoint(tmp_path / "run" / "last_model")

    return fit


@pytest.fixture
def several(task: EvaluationTask, tmp_path: Path) -> EvaluationTask:
    """The trials of the first two speakers, those of all, and those of the last two."""
    lines = Path(str(task.trials)).read_text().splitlines(keepends=True)
    parts = {
        "first": [line for line in lines if "s2" not in line and "s3" not in line],
        "all": lines,
        "last": [line for line in lines if "s0" not in line and "s1" not in line],
    }
    lists = {name: str(tmp_path / f"{name}.txt") for name in parts}
    for name, path in lists.items():
        Path(path).write_text("".join(parts[name]))
    return replace(task, trials=lists)


class TestSeveralLists:
    @pytest.fixture
    def task(self, several: EvaluationTask) -> EvaluationTask:
        return several

    def test_fit_and_validate_agree_to_the_last_bit(
        self, fitted: Fitted, task: EvaluationTask, tmp_path: Path
    ) -> None:
        saved = fitted()
        results = evaluate(saved, task, tmp_path / "out")
        forms = [f"{name}, {form}" for form in (AVERAGED, CONCATENATED) for name in task.trials]
        assert [result.name for result in results] == forms
        found = {
            f"{metric}{suffix}": value
            for result, suffix in zip(results[:3], ("", "_all", "_last"), strict=True)
            for metric, value in result.metrics.items()
        }
        assert found == saved.state.metrics
        assert len({result.metrics["threshold"] for result in results}) > 3
        assert saved.state.best is not None and saved.state.best.metric == "eer"
        content = json.loads((tmp_path / "out" / "report.json").read_text())
        assert content["eer"] == content["results"][forms[0]]["eer"]

    @pytest.mark.usefixtures("no_report")
    def test_each_utterance_is_embedded_once(
        self,
        fitted: Fitted,
        task: EvaluationTask,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        saved, seen = fitted(), []
        embed = SpeakerModule.embeddings
        monkeypatch.setattr(
            SpeakerModule,
            "embeddings",
            lambda self, batch: seen.extend(batch.keys) or embed(self, batch),
        )
        evaluate(saved, task, tmp_path / "out")
        assert len(seen) == len(set(seen)) == SPEAKERS * (len(ENROLLED) + len(TESTED) + 1)

    def test_the_report_is_of_all_of_them(self, fitted: Fitted, task: EvaluationTask) -> None:
        saved = fitted()
        assert report_folder(saved, task.trials).name == "first+all+last"

    def test_a_resume_keeps_the_metrics_of_all(self, fitted: Fitted, tmp_path: Path) -> None:
        class Stop(Callback):
            def on_train_epoch_end(self, run: Run) -> None:
                run.request_stop("test")

        straight = fitted().state
        shutil.rmtree(tmp_path / "run")
        fitted(ResumeStep(), Stop())
        assert fitted(ResumeStep()).state.metrics == straight.metrics


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("callbacks", [(), (EMA(decay=0.5),)], ids=["plain", "averaged weights"])
def test_the_metrics_equal_those_of_training_to_the_last_bit(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path, callbacks: tuple[Callback, ...]
) -> None:
    saved = fitted(*callbacks)
    results = evaluate(saved, task, tmp_path / "out")
    assert [result.name for result in results] == [AVERAGED, CONCATENATED]
    assert results[0].metrics == saved.state.metrics
    assert 0 < results[0].metrics["eer"] < 0.6


def test_both_enrolments_are_reported(fitted: Fitted, task: EvaluationTask, tmp_path: Path) -> None:
    saved = fitted()
    results = evaluate(saved, task, tmp_path / "out")
    embeddings: dict[str, np.ndarray] = {}
    for part in (tmp_path / "out" / "embeddings").rglob("*.npz"):
        with np.load(part) as content:
            embeddings |= dict(zip(content["keys"].tolist(), content["embeddings"], strict=True))
    assert len(embeddings) == SPEAKERS * (len(ENROLLED) + len(TESTED) + 1)
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    trials = TrialData(trials=task.trials, eval_manifest=task.eval_manifest).trials
    averaged = {key: (f"{key[:2]}-0", f"{key[:2]}-1") for key in trials.enroll_ids}
    for result, enrollment in zip(results, (averaged, None), strict=True):
        scores = score_trials(trials, embeddings, enrollment)
        np.testing.assert_array_equal(result.scores, scores)
        assert content["results"][result.name]["eer"] == compute_eer(scores, trials.targets)[0]
        assert content["results"][result.name]["dropped_trials"] == 0
    assert (results[0].scores != results[1].scores).any()
    assert content["eer"] == content["results"][AVERAGED]["eer"]
    single = evaluate(saved, replace(task, enroll=None), tmp_path / "single")
    assert [result.name for result in single] == [SINGLE]
    assert single[0].metrics["eer"] == results[1].metrics["eer"]


def test_the_report_has_the_metrics_of_each_condition(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path
) -> None:
    """The test utterances have 0.5625, 0.59375 and 0.625 s; the manifest says so with three
    digits. An averaged enrolment has two utterances, so the test utterance is the shorter side."""
    saved = fitted()
    by = replace(task, by="duration", by_seconds=[0.58, 0.61])
    results = evaluate(saved, by, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "report.json").read_text())["results"]
    for result in results:
        found = content[result.name]["by"]["duration"]
        assert list(found) == ["below 0.58 s", "0.58 to 0.61 s", "0.61 s or more"]
        part = np.array([key.endswith("-3") for key in read_trials(str(task.trials)).test_ids])
        chosen = part[read_trials(str(task.trials)).test]
        expected = compute_eer(result.scores[chosen], result.targets[chosen])[0]
        assert found["below 0.58 s"]["eer"] == expected
    page = (tmp_path / "out" / "report.html").read_text()
    assert "0.58 to 0.61 s" in page and f"{AVERAGED}, by duration" in page
    write_manifest(
        tmp_path / "bare.tsv",
        [(key, found.path, None) for key, found in read_recordings(task.eval_manifest).items()],
    )
    bare = evaluate(saved, replace(by, eval_manifest=str(tmp_path / "bare.tsv")), tmp_path / "b")
    assert bare[0].by_condition is not None and results[0].by_condition is not None
    counts = [
        [each.target_trials for each in found.by_condition.conditions.values()]
        for found in (bare[0], results[0])
    ]
    assert counts[0] == counts[1] == [4, 4, 4]


@pytest.mark.usefixtures("no_report")
def test_the_lists_of_ppvector_are_trials_of_all_pairs(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path, no_report
) -> None:
    """The utterances are paths, so no manifest is given. The scores are also written to a file."""
    paths = {key: recording.path for key, recording in read_recordings(task.eval_manifest).items()}
    for name, numbers in (("enroll", ("enroll",)), ("trials", TESTED)):
        rows = [
            f"{paths[f's{speaker}-{number}']}\t{speaker}\n"
            for speaker in range(SPEAKERS)
            for number in numbers
        ]
        (tmp_path / f"{name}_list.txt").write_text("".join(rows))
    lists = {
        "trials": str(tmp_path / "trials_list.txt"),
        "enroll_list": str(tmp_path / "enroll_list.txt"),
    }
    saved = fitted()
    (result,) = evaluate(
        saved, EvaluationTask(**lists, workers=0, write_scores=True), tmp_path / "lists"
    )
    concatenated = evaluate(saved, task, tmp_path / "manifest")[1]
    assert concatenated.name == CONCATENATED
    np.testing.assert_allclose(result.scores, concatenated.scores, atol=1e-6)  # other batches
    np.testing.assert_array_equal(result.targets, concatenated.targets)
    trials = read_trials(lists["trials"], enroll_list=lists["enroll_list"])
    np.testing.assert_array_equal(
        read_scores(tmp_path / "lists" / f"scores_{SINGLE}.txt", trials).scores, result.scores
    )


def test_every_utterance_is_embedded_only_once(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, seen = fitted(), []
    compute = SpeakerModule.embeddings

    def counted(module: SpeakerModule, batch):
        seen.extend(batch.keys)
        return compute(module, batch)

    monkeypatch.setattr(SpeakerModule, "embeddings", counted)
    first = evaluate(saved, task, tmp_path / "out")
    assert len(seen) == len(set(seen)) == SPEAKERS * 6
    again = evaluate(saved, task, tmp_path / "out")
    assert len(seen) == SPEAKERS * 6
    assert [result.metrics for result in again] == [result.metrics for result in first]
    evaluate(saved, replace(task, max_seconds=0.55), tmp_path / "out")
    assert len(seen) == 2 * SPEAKERS * 6


@pytest.mark.usefixtures("no_report")
def test_a_killed_extraction_resumes_to_the_same_embeddings(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, compute = fitted(), SpeakerModule.embeddings
    whole = evaluate(saved, task, tmp_path / "whole")
    monkeypatch.setattr(embedding_store, "PART_SIZE", 3)
    seen: list[tuple[str, ...]] = []

    def interrupted_embeddings(module: SpeakerModule, batch):
        seen.append(batch.keys)
        if len(seen) % 2 == 0:
            raise KeyboardInterrupt
        return compute(module, batch)

    monkeypatch.setattr(SpeakerModule, "embeddings", interrupted_embeddings)
    interrupted = 0
    while True:
        try:
            resumed = evaluate(saved, task, tmp_path / "out")
            break
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted > 2
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
    completed = [keys for number, keys in enumerate(seen, 1) if number % 2]
    assert (
        len({key for keys in completed for key in keys}) == sum(map(len, completed)) == SPEAKERS * 6
    )


def test_missing_recordings_are_named_and_their_trials_counted(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = fitted()
    for key in ("s1-2", "s2-1"):  # a test utterance; one of two enrolment utterances
        (tmp_path / f"{key}.wav").unlink()
    manifest = tmp_path / "eval.tsv"
    manifest.write_text(
        "".join(line for line in manifest.open() if not line.startswith("s3-enroll"))
    )
    with caplog.at_level(logging.WARNING):
        averaged, concatenated = evaluate(saved, task, tmp_path / "out")
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    dropped = "15 of 48 trials are dropped because 2 recordings are missing"  # 12 + 4 - 1 trials
    assert lines[0] == f"{AVERAGED}: {dropped}: s1-2, s2-1"
    assert lines[1] == f"{CONCATENATED}: {dropped}: s1-2, s3-enroll"
    content = json.loads((tmp_path / "out" / "report.json").read_text())["results"][AVERAGED]
    assert content["missing_recordings"] == ["s1-2", "s2-1"] and content["dropped_trials"] == 15
    assert content["target_trials"] + content["nontarget_trials"] == len(averaged.scores) == 33
    assert "s3-enroll" in (tmp_path / "out" / "report.html").read_text()
    assert len(concatenated.scores) == 33


def test_an_unreadable_recording_drops_its_trials_and_is_left_out_of_the_cohort(
    fitted: Fitted,
    task: EvaluationTask,
    tmp_path: Path,
    no_report,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [
        (f"s{speaker}-{number}.wav", f"s{speaker}", 0.6)
        for speaker in range(SPEAKERS)
        for number in TESTED
    ]
    write_manifest(tmp_path / "train.tsv", rows)
    task = replace(task, cohort=str(tmp_path / "train.tsv"), top=2)
    saved, whole = fitted(), (tmp_path / "s1-2.wav").read_bytes()
    (tmp_path / "s1-2.wav").write_bytes(whole[:40])
    with caplog.at_level("WARNING"):
        results = evaluate(saved, task, tmp_path / "out")
    for result in results:
        assert len(result.scores) == SPEAKERS * (SPEAKERS * len(TESTED) - 1)
        assert (
            result.notes["missing_recordings"] == ["s1-2"]
            and result.notes["dropped_trials"] == SPEAKERS
        )
    assert "s1-2.wav" in caplog.text and "1 recordings are left out of the cohort" in caplog.text
    (tmp_path / "s1-2.wav").write_bytes(whole)
    mended = evaluate(saved, task, tmp_path / "out")
    assert all(result.notes["dropped_trials"] == 0 for result in mended)


def test_an_evaluation_without_any_usable_trial_is_an_error(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path
) -> None:
    saved = fitted()
    for path in tmp_path.glob("*.wav"):
        path.unlink()
    with pytest.raises(
        UsageError, match=r"48 of 48 trials are dropped because .* no trial is left: s0-0, s0-1"
    ):
        evaluate(saved, task, tmp_path / "out")


@pytest.mark.usefixtures("no_report")
def test_scores_are_also_normalised_by_the_speakers_of_a_training_manifest(
    fitted: Fitted, task: EvaluationTask, tmp_path: Path
) -> None:
    rows = [
        (f"s{speaker}-{number}.wav", f"s{speaker}", 0.6)
        for speaker in range(SPEAKERS)
        for number in TESTED
    ]
    write_manifest(tmp_path / "train.tsv", rows)
    saved = fitted()
    cohort = replace(task, cohort=str(tmp_path / "train.tsv"), top=2, bootstrap=50)
    results = evaluate(saved, cohort, tmp_path / "out")
    assert [result.name for result in results] == [
        *(AVERAGED, CONCATENATED),
        *(f"{AVERAGED}, as-norm", f"{CONCATENATED}, as-norm"),
    ]
    plain = evaluate(saved, task, tmp_path / "out")
    np.testing.assert_array_equal(results[0].scores, plain[0].scores)
    module, voices = SpeakerModule.from_checkpoint(saved), {}
    for batch in (
        replace(cohort, workers=0)
        .utterances(read_recordings(task.eval_manifest), Ranks())
        .batches()
    ):
        voices |= dict(zip(batch.keys, module.embeddings(batch), strict=True))
    known = build_cohort(
        np.stack([voices[path.removesuffix(".wav")] for path, _, _ in rows]),
        [row[1] for row in rows],
    )
    trials = read_trials(task.trials)
    for plain_result, normalised in zip(results[:2], results[2:], strict=True):
        enrollment = None if plain_result.name == CONCATENATED else read_enrollment(task.enroll)
        sides = unit_sides(trials, voices, enrollment, mean=known.mean)
        expected = normalize_scores(dot_products(trials, sides), trials, sides, known, top=2)
        np.testing.assert_allclose(normalised.scores, expected, rtol=1e-3)  # other batches
    low, high = results[2].intervals.eer
    assert low <= high
    assert f"[{low:.2%}, {high:.2%}], min_dcf " in results[2].summary
    assert plain[0].intervals is None and "[" not in plain[0].summary


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_seconds": 0.0}, "max_seconds is 0.0: expected more than 0"),
        ({"top": 1}, "top is 1: expected 2 or more"),
        ({"bootstrap": -1}, "bootstrap is -1: expected 0 or more"),
        ({"workers": -1}, "workers is -1: expected 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(option: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EvaluationTask(trials="trials.txt", eval_manifest="eval.tsv", **option)


class TestOtherRuntimes:
    def test_they_embed_every_recording_alone_in_several_threads(
        self, fitted: Fitted, task: EvaluationTask, tmp_path: Path, no_report: None
    ) -> None:
        saved = fitted()
        module = SpeakerModule.from_checkpoint(saved)
        names, lock = set[str](), threading.Lock()

        def embed(waveforms: Sequence[np.ndarray]) -> np.ndarray:
            names.add(threading.current_thread().name)
            with lock, paddle.no_grad():
                return np.concatenate([module.embed(wave[np.newaxis]) for wave in waveforms])

        counts = []

        def choose(recordings: int) -> EmbeddingRuntime:
            counts.append(recordings)
            return EmbeddingRuntime("another 1.0", embed, threads=2)

        expected = evaluate(saved, task, tmp_path / "paddle")
        found = evaluate(saved, task, tmp_path / "other", choose_runtime=choose)
        assert counts == [24] and names <= {"loader-0", "loader-1"}
        assert [each.name for each in found] == [each.name for each in expected]
        for ours, theirs in zip(expected, found, strict=True):
            np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-5)

    def test_embeddings_of_another_runtime_are_not_mixed_in(
        self, fitted: Fitted, task: EvaluationTask, tmp_path: Path, no_report: None
    ) -> None:
        saved = fitted()
        evaluate(saved, task, tmp_path / "out")
        kept = set((tmp_path / "out" / "embeddings").iterdir())
        other = EmbeddingRuntime("another 1.0", lambda waves: np.ones((len(waves), 16), "f4"), 1)
        evaluate(saved, task, tmp_path / "out", choose_runtime=lambda recordings: other)
        added = set((tmp_path / "out" / "embeddings").iterdir()) - kept
        assert len(added) == len(kept)
        for folder in added:
            assert json.loads((folder / "about.json").read_text())["runtime"] == "another 1.0"
