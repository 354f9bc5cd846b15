"""The same training samples with the data set of ppvector 1.0.2."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np  # before Paddle 2.6, which may crash if it is imported first
from ppvector.data_utils.reader import CustomDataset


def crops(*, data_list: str, noise_dir: str, augment: bool, items: int) -> Callable[[], float]:
    random.seed(0)
    augmentation = {"speed_perturb": True, "noise_dir": noise_dir, "noise_aug_prob": 0.2}
    dataset = CustomDataset(
        data_list_path=data_list,
        do_vad=False,
        max_duration=3,
        aug_conf=augmentation if augment else {"noise_dir": "none", "noise_aug_prob": 0.0},
    )
    if not augment:
        dataset.noises_path = []  # without a folder it fails: it takes the length of None

    def step() -> float:
        waveforms = [dataset[item % len(dataset)][0] for item in range(items)]
        return float(np.mean([np.abs(waveform).mean() for waveform in waveforms]))

    return step
