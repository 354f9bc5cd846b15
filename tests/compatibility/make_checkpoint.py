"""A small training run by one checkout of vprtrain. Later versions must be able to use its
checkpoint.

``python tests/compatibility/make_checkpoint.py CHECKOUT OUT`` trains 8 steps with the code and the
command line of CHECKOUT, and writes to OUT what :file:`test_checkpoint_0_1.py` needs::

    models/TDNN_Fbank/    a run directory with step_6, the checkpoint in the middle of the run
    expected.npz          the weights after step 8, and step_6's embedding of one recording

Commit e1644fb, the last one of version 0.1.0, made the checkpoint in ``checkpoint_0_1``::

    git worktree add ../before e1644fb
    PYTHONPATH=../before python tests/compatibility/make_checkpoint.py ../before \
        tests/compatibility/checkpoint_0_1

With ``--compare`` the code of CHECKOUT continues OUT's checkpoint instead, and the script prints
whether every bit agrees. Bits depend on the processor, so this needs the same machine, and the
tests allow rounding.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16000
SPEAKERS, UTTERANCES = 4, 4
RUN = Path("models/TDNN_Fbank")
FINAL_FILES = ("model.pdparams", "ema.pdparams", "optimizer.pdopt")

CONFIG = """
seed: 5
device: cpu
model:
  class_path: vprtrain.models.TDNN
  init_args: {channels: 8, pooled_channels: 12, embedding_dim: 8, input_size: 20}
feature:
  class_path: vprtrain.features.Fbank
  init_args: {n_mels: 20, mean_norm: true}
loss:
  class_path: vprtrain.losses.AAMLoss
  init_args: {margin: 0.2, scale: 32.0}
optimizer:
  class_path: vprtrain.engine.Adam
  init_args: {learning_rate: 0.01}
spec_augment: {num_freq_masks: 1, max_freq_mask: 2}
data:
  batch_size: 4
  crop_seconds: 0.6
  workers: 0
  order:
    class_path: vprtrain.data.sampler.BalancedOrder
  augmentations:
    - class_path: vprtrain.data.augmentation.Volume
engine: {max_steps: 8, validate_every: 3 steps, commit_every: 6 steps, log_every: 2, clip_norm: 5.0}
callbacks:
  - class_path: vprtrain.callbacks.ResumeStep
  - class_path: vprtrain.callbacks.CosineWarmup
    init_args: {warmup_epochs: 0.25}
  - class_path: vprtrain.callbacks.EMA
  - class_path: vprtrain.callbacks.EarlyStopping
  - class_path: vprtrain.callbacks.JsonlLog
  - class_path: vprtrain.callbacks.Checkpoint
"""


def write_corpus(folder: Path) -> None:
    """Write four voices of two harmonics each. The manifests have relative paths, so that their
    text is the same in any folder."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    train, evaluation, trials = [], [], []
    for speaker in range(SPEAKERS):
        for utterance in range(UTTERANCES):
            rng = np.random.default_rng([speaker, utterance])
            pitch = 110.0 * (1 + 0.3 * speaker) * (1 + 0.02 * rng.standard_normal())
            voice = np.sin(2 * np.pi * pitch * time) + 0.5 * np.sin(4 * np.pi * pitch * time)
            wave = 0.2 * voice + 0.01 * rng.standard_normal(SAMPLE_RATE)
            name = f"s{speaker}-{utterance}.wav"
            soundfile.write(folder / name, (wave * 32767).astype("int16"), SAMPLE_RATE)
            train.append(f"{name}\tspeaker{speaker}\t1.0\n")
            evaluation.append(f"s{speaker}-{utterance}\t{name}\n")
    ids = [
        f"s{speaker}-{utterance}" for speaker in range(SPEAKERS) for utterance in range(UTTERANCES)
    ]
    for first in ids[::2]:
        trials += [f"{int(first[1] == second[1])} {first} {second}\n" for second in ids[1::2]]
    for name, lines in {"train.tsv": train, "eval.tsv": evaluation, "trials.txt": trials}.items():
        (folder / name).write_text("".join(lines))


def run(command: list[str], folder: Path) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def embedding(folder: Path) -> np.ndarray:
    """The embedding that ``vprtrain embed`` prints for one recording of the corpus, with the run in
    the same folder."""
    embed = [sys.executable, "-m", "vprtrain", "embed", f"--checkpoint={RUN}", "--json", "s0-0.wav"]
    return np.array(json.loads(run(embed, folder))["embedding"])


def train(checkout: Path, folder: Path) -> Path:
    """Train to the end, or resume and train to the end, in the corpus's folder.

    Returns:
        The run directory.
    """
    files = "--data.train_manifest=train.tsv --data.eval_manifest=eval.tsv --data.trials=trials.txt"
    script = checkout.resolve() / "recipes/cnceleb/run.py"
    (folder / "config.yaml").write_text(CONFIG)
    run([sys.executable, str(script), "fit", "--config=config.yaml", *files.split()], folder)
    return folder / RUN


def final_weights(run_dir: Path) -> dict[str, np.ndarray]:
    """All arrays of the last checkpoint, by file and name."""
    import paddle

    files = {
        name: paddle.load(str(run_dir / "last_model" / name), return_numpy=True)
        for name in FINAL_FILES
    }
    return {
        f"{name}/{key}": value for name, arrays in files.items() for key, value in arrays.items()
    }


def keep_middle(run_dir: Path, out: Path) -> None:
    """Copy the generation of step 6, and what was logged by then."""
    target = out / RUN
    target.mkdir(parents=True)
    shutil.copytree(run_dir / "step_6", target / "step_6")
    metrics = (run_dir / "metrics.jsonl").read_bytes()
    state = json.loads((target / "step_6" / "model.state").read_text())
    (target / "metrics.jsonl").write_bytes(metrics[: state["metrics_offset"]])


def restore_middle(out: Path, folder: Path) -> None:
    """Copy it back as a run directory, with the links that a source archive would not keep."""
    shutil.copytree(out / RUN, folder / RUN)
    for link in ("last_model", "best_model"):
        (folder / RUN / link).symlink_to("step_6")


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_corpus(folder)
        if options.compare:
            restore_middle(options.out, folder)
            embedded = embedding(folder)
            found = {**final_weights(train(options.checkout, folder)), "embedding": embedded}
            expected = dict(np.load(options.out / "expected.npz"))
            other = [name for name in expected if not np.array_equal(expected[name], found[name])]
            print(f"{len(expected)} arrays, {len(other)} differ in some bit: {other}")
            sys.exit(bool(other or expected.keys() != found.keys()))
        run_dir = train(options.checkout, folder)
        keep_middle(run_dir, options.out)
        arrays = final_weights(run_dir)
        shutil.rmtree(folder / "models")
        restore_middle(options.out, folder)
        np.savez(options.out / "expected.npz", **arrays, embedding=embedding(folder))


if __name__ == "__main__":
    main()
