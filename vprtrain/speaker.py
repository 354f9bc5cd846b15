"""Speaker verification as the engine's Module: features, encoder, head, loss; validated by the EER of a trial list."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.speaker_data import SpeakerBatch
from vprtrain.data.trial_data import EvaluationBatch, TrialData
from vprtrain.engine.module import Module, Scalars
from vprtrain.engine.persistence import load_weights
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.features import Fbank
from vprtrain.losses import CosineHead, MarginLoss, margin_free_accuracy
from vprtrain.models import SpeakerEncoder
from vprtrain.scoring.cosine import score_trials
from vprtrain.scoring.metrics import compute_eer, compute_min_dcf
from vprtrain.spec import build


class SpeakerModule(Module):
    """Waveforms in, a margin-softmax loss over the training speakers out; embeddings in between.

    Args:
        model: the encoder; its ``input_size`` must be the feature's ``output_size``.
        feature: waveforms ``[batch, samples]`` to features ``[batch, frames, size]``.
        loss: cosines ``[batch, speakers]`` and labels ``[batch]`` to a scalar.
        num_speakers: the training speakers, as counted by the data.
        evaluation: the trials that validation scores; needed for validation only.
    """

    metric_names = ("eer", "min_dcf", "threshold")
    scheduled = ("margin",)

    def __init__(
        self,
        *,
        model: SpeakerEncoder,
        feature: Fbank,
        loss: MarginLoss,
        num_speakers: int,
        evaluation: TrialData | None = None,
    ) -> None:
        super().__init__()
        if model.input_size != feature.output_size:
            raise UsageError(
                f"the model takes {model.input_size} values a frame, the feature gives {feature.output_size}: "
                "set the model's input_size to the feature's size"
            )
        self.model = model
        self.feature = feature
        self.head = CosineHead(embedding_dim=model.embedding_dim, num_classes=num_speakers)
        self.loss = loss
        self.num_speakers = num_speakers
        self.evaluation = evaluation
        self._embeddings: dict[str, np.ndarray] = {}

    @classmethod
    def from_checkpoint(cls, saved: SavedCheckpoint, *, evaluation: TrialData | None = None) -> SpeakerModule:
        """The module that a checkpoint holds, with its weights (the averaged ones where it has them).

        Raises:
            CheckpointError: the checkpoint is not a speaker model's.
        """
        source, state = str(saved.folder), saved.state
        num_speakers = state.get("num_speakers")
        if not isinstance(num_speakers, int) or num_speakers < 1:
            raise CheckpointError(f"{source} is not a speaker model's: its num_speakers is {num_speakers!r:.80}")
        module = cls(
            model=build(state.get("model"), SpeakerEncoder, source),
            feature=build(state.get("feature"), Fbank, source),
            loss=build(state.get("loss"), MarginLoss, source),
            num_speakers=num_speakers,
            evaluation=evaluation,
        )
        load_weights(module, saved)
        module.eval()
        return module

    @property
    def margin(self) -> float:
        """The loss's margin, which MarginSchedule sets."""
        return self.loss.margin

    @margin.setter
    def margin(self, value: float) -> None:
        self.loss.margin = value

    def embed(self, waveforms: np.ndarray | paddle.Tensor) -> paddle.Tensor:
        """Embeddings ``[batch, embedding_dim]`` of equally long waveforms ``[batch, samples]`` in [-1, 1]."""
        with paddle.no_grad():  # no feature has anything to learn
            features = self.feature(paddle.to_tensor(waveforms))
        return self.model(features)

    def training_step(self, batch: SpeakerBatch) -> tuple[paddle.Tensor, Scalars]:
        labels = paddle.to_tensor(batch.labels)
        cosines = self.head(self.embed(batch.waveforms))
        scalars = {"accuracy": margin_free_accuracy(cosines, labels)} if self.at_log_point else {}
        return self.loss(cosines, labels), scalars

    def on_validation_start(self) -> None:
        self._embeddings = {}

    def validation_step(self, batch: EvaluationBatch) -> None:
        embeddings = self.embed(batch.waveforms).astype("float32").numpy()
        self._embeddings.update(zip(batch.keys, embeddings, strict=True))

    def on_validation_end(self) -> dict[str, float]:
        if self.evaluation is None:
            raise UsageError("there is nothing to validate on: give the data a trial list")
        trials = self.evaluation.trials
        scores = score_trials(trials, self._embeddings, self.evaluation.enrollment)
        eer, threshold = compute_eer(scores, trials.targets)
        self._embeddings = {}
        return {"eer": eer, "min_dcf": compute_min_dcf(scores, trials.targets), "threshold": threshold}

    def state_keys(self) -> dict[str, Any]:
        return {
            "model": self.model.spec,
            "feature": self.feature.spec,
            "loss": self.loss.spec,
            "num_speakers": self.num_speakers,
            "margin": self.margin,
        }

    def fingerprint(self) -> dict[str, Any]:
        return {name: self.state_keys()[name] for name in ("model", "feature", "loss", "num_speakers")}
