from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vprtrain.data.audio.reading import AudioError, read_audio
from vprtrain.data.augmentation import (
    AdditiveNoise,
    Augmentation,
    OneOf,
    Reverberation,
    SilenceTrimming,
    SpeedPerturbation,
    Volume,
)
from vprtrain.data.manifest import write_manifest
from vprtrain.errors import UsageError

RATE = 16000


def generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def speech(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return generator(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


@pytest.fixture(scope="module")
def musan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of each class, one longer and one shorter than the speech, with a tone each."""
    folder = tmp_path_factory.mktemp("musan")
    rows = []
    for number, (kind, seconds) in enumerate(
        (k, s) for k in ("noise", "music", "speech") for s in (9.0, 0.4)
    ):
        tone = 0.3 * np.sin(
            2 * np.pi * (1000 + 500 * number) * np.arange(round(seconds * RATE)) / RATE
        )
        soundfile.write(folder / f"{number}.wav", tone, RATE)
        rows.append((f"{number}.wav", kind, seconds if number % 2 else None))
    write_manifest(folder / "musan.tsv", rows)
    return folder / "musan.tsv"


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Responses of 0.1, 0.5 and 2 s, the last in stereo."""
    folder = tmp_path_factory.mktemp("rooms")
    for number, seconds in enumerate((0.1, 0.5, 2.0)):
        time = np.arange(round(seconds * RATE)) / RATE
        response = 0.3 * generator(number).normal(size=len(time)) * np.exp(-time * 7 / seconds)
        channels = response if number < 2 else np.stack([response, 0 * response], axis=1)
        soundfile.write(folder / f"{number}.wav", channels, RATE, subtype="FLOAT")
    write_manifest(
        folder / "rirs.tsv", [(f"{number}.wav", "smallroom", None) for number in range(3)]
    )
    return folder / "rirs.tsv"


def of_class(musan: Path, kind: str) -> Path:
    """A manifest with one class only."""
    path = musan.with_name(f"{kind}.tsv")
    path.write_text(
        "".join(line for line in musan.read_text().splitlines(True) if f"\t{kind}" in line)
    )
    return path


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["noise", "music", "speech"]),
    ratio=st.floats(-5, 40),
    level=st.floats(-60, 0),
    seconds=st.floats(0.05, 3),
    seed=st.integers(0, 99),
)
def test_the_signal_to_noise_ratio_is_the_one_asked_for(
    musan: Path, kind: str, ratio: float, level: float, seconds: float, seed: int
) -> None:
    asked, never = (ratio, ratio), (99.0, 99.0)
    augmentation = AdditiveNoise(
        manifest=str(of_class(musan, kind)),
        noise_snr=asked if kind == "noise" else never,
        music_snr=asked if kind == "music" else never,
        babble_snr=asked if kind == "speech" else never,
        probability=1,
    )
    waveform = speech(seconds) * np.float32(10 ** (level / 20))
    noisy = augmentation(waveform, generator(seed), RATE)
    assert noisy.shape == waveform.shape and noisy.dtype == np.float32
    noise = noisy.astype(np.float64) - waveform
    assert 10 * np.log10(power(waveform) / power(noise)) == pytest.approx(ratio, abs=0.1)


def test_every_class_file_and_ratio_is_drawn(musan: Path) -> None:
    augmentation = AdditiveNoise(manifest=str(musan), probability=1)
    waveform = speech()
    heard: dict[int, list[float]] = {number: [] for number in range(6)}
    for seed in range(200):
        noise = augmentation(waveform, generator(seed), RATE) - waveform
        number = round(
            (np.argmax(np.abs(np.fft.rfft(noise))) - 1000) / 500
        )  # of the strongest tone
        heard[number].append(10 * np.log10(power(waveform) / power(noise)))
    for number, (low, high) in enumerate([(0, 15)] * 2 + [(5, 15)] * 2 + [(13, 20)] * 2):
        assert len(heard[number]) > 8
        assert (
            low - 0.1 < min(heard[number]) < low + 3 and high - 3 < max(heard[number]) < high + 0.1
        )


def test_babble_is_of_three_to_eight_voices(tmp_path: Path) -> None:
    for number in range(40):
        tone = (
            0.01
            * (1 + number)
            * np.sin(2 * np.pi * 100 * (number + 1) * np.arange(2 * RATE) / RATE)
        )
        soundfile.write(tmp_path / f"{number}.wav", tone, RATE, subtype="FLOAT")
    write_manifest(tmp_path / "m.tsv", [(f"{number}.wav", "speech", 2.0) for number in range(40)])
    augmentation = AdditiveNoise(manifest=str(tmp_path / "m.tsv"), probability=1)
    voices = set()
    for seed in range(40):
        babble = augmentation(speech(), generator(seed), RATE) - speech()
        tones = np.abs(np.fft.rfft(babble))[100:4001:100]
        single = tones[tones > 0.1 * tones.max()]
        voices.add(len(single))
        if len(single) >= 7:  # at one level, although the files differ in level
            assert np.median(single) == pytest.approx(single.min(), rel=0.01)
    assert {4, 5, 6, 7} <= voices <= set(range(1, 9))


def test_noise_is_read_by_slices(musan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[float, float]] = []

    def spy(path: str, *, sample_rate: int, start: float, duration: float) -> np.ndarray:
        read.append((start, duration))
        return read_audio(path, sample_rate=sample_rate, start=start, duration=duration)

    monkeypatch.setattr("vprtrain.data.augmentation.recorded.read_audio", spy)
    augmentation = AdditiveNoise(manifest=str(of_class(musan, "noise")), probability=1)
    for seed in range(100):
        augmentation(speech(), generator(seed), RATE)
    assert {duration for _, duration in read} == {1.0}
    assert max(start for start, _ in read) > 7 and sum(start == 0 for start, _ in read) > 5


def test_silence_gets_no_noise_and_silent_noise_changes_nothing(
    tmp_path: Path, musan: Path
) -> None:
    silence = np.zeros(RATE, np.float32)
    augmentation = AdditiveNoise(manifest=str(musan), probability=1)
    np.testing.assert_array_equal(augmentation(silence, generator(0), RATE), silence)
    soundfile.write(tmp_path / "silence.wav", silence, RATE)
    write_manifest(tmp_path / "m.tsv", [("silence.wav", "noise", None)])
    augmentation = AdditiveNoise(manifest=str(tmp_path / "m.tsv"), probability=1)
    np.testing.assert_array_equal(augmentation(speech(), generator(0), RATE), speech())


def test_reverberation_is_a_convolution_with_unit_energy(rooms: Path) -> None:
    augmentation = Reverberation(manifest=str(rooms), probability=1)
    responses = [
        read_audio(rooms.with_name(f"{number}.wav")).astype(np.float64) for number in range(3)
    ]
    waveform = speech()
    heard = set()
    for seed in range(12):
        wet = augmentation(waveform, generator(seed), RATE)
        assert wet.shape == waveform.shape and wet.dtype == np.float32
        used = [response[:RATE] / np.sqrt(np.sum(response[:RATE] ** 2)) for response in responses]
        expected = [np.convolve(waveform.astype(np.float64), response)[:RATE] for response in used]
        (number,) = [
            place for place, one in enumerate(expected) if np.allclose(wet, one, atol=1e-4)
        ]
        heard.add(number)
    assert heard == {0, 1, 2}


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(1, 20000), place=st.integers(0, 19999), seed=st.integers(0, 50))
def test_an_impulse_comes_out_as_the_response_of_unit_energy(
    rooms: Path, samples: int, place: int, seed: int
) -> None:
    """If the response fits into the waveform."""
    impulse = np.zeros(samples + 32000, np.float32)
    impulse[place % samples] = 1
    wet = Reverberation(manifest=str(rooms), probability=1)(impulse, generator(seed), RATE)
    assert np.sum(np.square(wet, dtype=np.float64)) == pytest.approx(1, abs=1e-3)
    assert np.abs(wet[: place % samples]).max(initial=0) < 1e-5


def test_threads_share_the_cached_spectra(rooms: Path) -> None:
    augmentation = Reverberation(manifest=str(rooms), probability=1)
    results: list[np.ndarray | None] = [None] * 24

    def work(first: int) -> None:
        for seed in range(first, 24, 4):
            results[seed] = augmentation(speech(0.5 + 0.1 * (seed % 3)), generator(seed), RATE)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, result in enumerate(results):
        alone = Reverberation(manifest=str(rooms), probability=1)(
            speech(0.5 + 0.1 * (seed % 3)), generator(seed), RATE
        )
        np.testing.assert_array_equal(result, alone)


@pytest.mark.parametrize("kind", [AdditiveNoise, Reverberation])
def test_a_bad_file_raises_what_the_caller_reports(
    kind: type[Augmentation], tmp_path: Path
) -> None:
    (tmp_path / "torn.wav").write_text("not audio")
    write_manifest(tmp_path / "m.tsv", [("torn.wav", "noise", None)])
    with pytest.raises(AudioError, match=r"torn\.wav: cannot be decoded"):
        kind(manifest=str(tmp_path / "m.tsv"), probability=1)(speech(), generator(0), RATE)  # type: ignore[call-arg]


def test_silent_rooms_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), RATE)
    write_manifest(tmp_path / "m.tsv", [("silent.wav", "smallroom", None)])
    with pytest.raises(
        AudioError, match=r"silent\.wav: silent; expected a room's impulse response"
    ):
        Reverberation(manifest=str(tmp_path / "m.tsv"), probability=1)(speech(), generator(0), RATE)


@given(gain=st.floats(-30, 30))
def test_volume_is_in_decibels(gain: float) -> None:
    louder = Volume(gain_db=(gain, gain), probability=1)(speech(), generator(0), RATE)
    assert 10 * np.log10(power(louder) / power(speech())) == pytest.approx(gain, abs=0.01)
    assert louder.dtype == np.float32


def test_a_pause_is_cut_out_and_its_edges_kept() -> None:
    first, last = speech(0.8, seed=1), speech(0.6, seed=2)
    pause = speech(2.0, seed=3) / 1000
    trimmed = SilenceTrimming(padding_seconds=0.1)(
        np.concatenate([first, pause, last]), generator(0), RATE
    )
    assert len(trimmed) / RATE == pytest.approx(0.8 + 0.6 + 0.2, abs=0.05)
    np.testing.assert_array_equal(trimmed[: len(first)], first)
    np.testing.assert_array_equal(trimmed[-len(last) :], last)


@pytest.mark.parametrize(
    "waveform", [speech(2), np.zeros(RATE, np.float32), np.eye(1, RATE, 500, np.float32)[0]]
)
def test_speech_silence_and_a_click_are_left_as_they_are(waveform: np.ndarray) -> None:
    np.testing.assert_array_equal(SilenceTrimming()(waveform, generator(0), RATE), waveform)


@pytest.mark.parametrize("samples", [1, 100, 320, 321, 5000])
def test_short_waveforms_are_trimmed_without_an_error(samples: int) -> None:
    waveform = speech()[:samples]
    np.testing.assert_array_equal(SilenceTrimming()(waveform, generator(0), RATE), waveform)


@settings(deadline=None)
@given(probability=st.sampled_from([0.0, 0.2, 0.7, 1.0]))
def test_it_happens_as_often_as_the_probability_says(probability: float) -> None:
    augmentation = Volume(gain_db=(5, 5), probability=probability)
    changed = sum(
        augmentation(speech(0.01), generator(seed), RATE)[0] != speech(0.01)[0]
        for seed in range(400)
    )
    assert changed / 400 == pytest.approx(probability, abs=0.08)
    assert (changed == 400) == (probability == 1) and (changed == 0) == (probability == 0)


def test_one_of_takes_each_choice_as_often() -> None:
    augmentation = OneOf(
        choices=[Volume(gain_db=(gain, gain), probability=1) for gain in (-20.0, 20.0)]
    )
    gains = [
        augmentation(speech(0.01), generator(seed), RATE)[0] / speech(0.01)[0]
        for seed in range(200)
    ]
    assert 60 < sum(gain > 1 for gain in gains) < 140


@given(st.sampled_from([0.9, 1.1, 0.5, 2.0]), st.integers(400, 3000))
def test_speed_scales_time_and_pitch(factor: float, hertz: int) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    played = SpeedPerturbation(factors=(1.0, factor)).apply(tone, 1)
    assert len(played) == pytest.approx(RATE / factor, abs=1) and played.dtype == np.float32
    expected = np.sin(2 * np.pi * hertz * factor * np.arange(len(played)) / RATE)
    middle = slice(1000, -1000)
    np.testing.assert_allclose(played[middle], expected[middle], atol=1e-3)


def test_augmentations_draw_from_the_given_generator_alone(musan: Path, rooms: Path) -> None:
    for augmentation in (
        AdditiveNoise(manifest=str(musan)),
        Reverberation(manifest=str(rooms)),
        Volume(),
        SilenceTrimming(),
    ):
        for seed in range(5):
            first, second = (augmentation(speech(), generator(seed), RATE) for _ in range(2))
            np.testing.assert_array_equal(first, second)


def test_fingerprints_tell_settings_and_contents_apart_but_not_places(
    musan: Path, tmp_path: Path
) -> None:
    augmentation = OneOf(choices=[AdditiveNoise(manifest=str(musan)), Volume()], probability=0.6)
    fingerprint = augmentation.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    copy = tmp_path / "copy.tsv"
    copy.write_text(musan.read_text())
    (tmp_path / "0.wav").write_bytes(musan.with_name("0.wav").read_bytes())
    same = OneOf(choices=[AdditiveNoise(manifest=str(copy)), Volume()], probability=0.6)
    assert same.fingerprint() == fingerprint
    copy.write_text(musan.read_text() + "0.wav\tnoise\n")
    for other in (
        OneOf(choices=[AdditiveNoise(manifest=str(copy)), Volume()], probability=0.6),
        OneOf(choices=[AdditiveNoise(manifest=str(musan)), Volume()], probability=0.5),
        OneOf(
            choices=[AdditiveNoise(manifest=str(musan)), Volume(gain_db=(0, 1))], probability=0.6
        ),
    ):
        assert other.fingerprint() != fingerprint


def test_unusable_settings_are_refused_at_once(musan: Path, tmp_path: Path) -> None:
    (tmp_path / "unknown.tsv").write_text("a.wav\twind\n")
    (tmp_path / "moved.tsv").write_text("a.wav\tnoise\n")
    soundfile.write(musan.with_name("a.wav"), np.zeros(10), RATE)
    for make, message in (
        (lambda: Volume(probability=1.5), "Volume: probability is 1.5"),
        (lambda: Volume(gain_db=(3, -3)), "gain_db is 3 to -3"),
        (lambda: SilenceTrimming(threshold_db=-1), "threshold_db is -1"),
        (lambda: OneOf(choices=[]), "no choices"),
        (lambda: SpeedPerturbation(factors=()), "factors"),
        (lambda: SpeedPerturbation(factors=(1.0, 3.0)), "0.5 to 2"),
        (lambda: SpeedPerturbation(probability=1.5), "expected 0 to 1"),
        (lambda: SpeedPerturbation(factors=(0.9, 1.1), probability=0.5), "1.0 among them"),
        (lambda: AdditiveNoise(manifest=str(musan), babble_voices=(0, 3)), "babble_voices"),
        (lambda: AdditiveNoise(manifest=str(musan), noise_snr=(9, 0)), "ratio of noise"),
        (
            lambda: AdditiveNoise(manifest=str(tmp_path / "gone.tsv")),
            "gone.tsv does not exist; make it with vprtrain prepare --musan",
        ),
        (
            lambda: Reverberation(manifest=str(tmp_path / "moved.tsv")),
            r"names .*a\.wav, which does not",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            make()
    soundfile.write(tmp_path / "a.wav", np.zeros(10), RATE)
    with pytest.raises(UsageError, match=r"unknown classes \['wind'\]; expected some of"):
        AdditiveNoise(manifest=str(tmp_path / "unknown.tsv"))
