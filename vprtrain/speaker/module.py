"""The Module of speaker verification: feature, encoder, head and loss, validated by the EER of a
trial list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from vprtrain.checkpoint.snapshot import load_layer
from vprtrain.checkpoint.state_file import SavedCheckpoint
from vprtrain.data.whole_utterances import EvaluationBatch
from vprtrain.engine.module import Module, Scalars
from vprtrain.engine.persistence import weights
from vprtrain.errors import CheckpointError, UsageError
from vprtrain.features import FeatureExtractor, SpecAugment
from vprtrain.layers.sizes import without_memory
from vprtrain.losses import MarginLoss, SpeakerLoss, margin_free_accuracy
from vprtrain.models import SpeakerEncoder
from vprtrain.scoring.cosine import score_trials
from vprtrain.scoring.metrics import compute_eer, compute_min_dcf
from vprtrain.speaker.data import SpeakerBatch
from vprtrain.speaker.state import SpeakerState
from vprtrain.speaker.trials import TrialData
from vprtrain.spec import build, constructor_errors

METRICS = ("eer", "min_dcf", "threshold")
"""Of each trial list."""


class SpeakerModule(Module):
    """Computes embeddings of waveforms, and a loss over the training classes.

    Its metrics are ``eer``, ``min_dcf`` and ``threshold``. With several trial lists these are of
    the first one, and those of another list end in its name: ``eer_vox1_h``.

    Args:
        model: the encoder; its ``input_size`` must equal the feature's ``output_size``.
        feature: maps waveforms ``[batch, samples]`` to features ``[batch, frames, size]``.
        loss: makes the head; maps the head's scores and labels ``[batch]`` to a scalar.
        num_classes: the number of classes of the data. The head is built with this number of
            classes. ``None`` makes a module without a head, which embeds and validates but cannot
            train.
        num_speakers: the number of training speakers, which is smaller if speed perturbation makes
            new classes. It is only saved in ``model.state``. ``None`` means ``num_classes``.
        evaluation: the trials that validation scores; only needed to validate.
        spec_augment: masks the features, in training only.
        class_share: the share of the classes that a training step compares with; below 1 for
            hundreds of thousands of classes.
        imports: the modules of the user that this run has imported. They are only saved in
            ``model.state``, so that commands can name what to import.

    Raises:
        UsageError: the encoder does not fit the feature.
    """

    metric_names: Sequence[str] = METRICS

    def __init__(
        self,
        *,
        model: SpeakerEncoder,
        feature: FeatureExtractor,
        loss: SpeakerLoss,
        num_classes: int | None,
        num_speakers: int | None = None,
        evaluation: TrialData | None = None,
        spec_augment: SpecAugment | None = None,
        class_share: float = 1.0,
        imports: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if model.input_size != feature.output_size:
            raise UsageError(
                f"the model takes {model.input_size} values per frame, the feature gives "
                f"{feature.output_size}: set the model's input_size to the feature's size"
            )
        self.model = model
        self.feature = feature
        self.head = (
            None
            if num_classes is None
            else loss.build_head(
                embedding_dim=model.embedding_dim, num_classes=num_classes, class_share=class_share
            )
        )
        self.class_share = class_share
        self.loss = loss
        self.num_classes = num_classes
        self.num_speakers = num_classes if num_speakers is None else num_speakers
        self.scheduled = ("margin",) if isinstance(loss, MarginLoss) else ()
        self.evaluation = evaluation
        self.spec_augment = spec_augment
        self.imports = list(imports)
        self._embeddings: dict[str, np.ndarray] = {}
        if evaluation is not None and len(evaluation.lists) > 1:
            further = _suffixes(evaluation.lists)[1:]
            own = tuple(f"{metric}{suffix}" for suffix in further for metric in METRICS)
            self.metric_names = (*self.metric_names, *own)

    @classmethod
    def from_checkpoint(
        cls, saved: SavedCheckpoint, *, evaluation: TrialData | None = None
    ) -> SpeakerModule:
        """The module of a checkpoint in evaluation mode, with its weights. If the checkpoint also
        has averaged weights (EMA), it has those.

        The sizes of the model are compared with those of the arrays before it gets memory. Only a
        class of the user that computes with its parameters in its constructor gets memory first.

        Raises:
            CheckpointError: the checkpoint is not a speaker model's.
        """
        source, state, arrays = str(saved.folder), SpeakerState.of(saved), weights(saved)
        try:
            with without_memory():
                module = cls._from_state(state, source, evaluation)
            load_layer(module, arrays, source)
        except CheckpointError:
            if not state.has_foreign_class:
                raise
            module = cls._from_state(state, source, evaluation)
            load_layer(module, arrays, source)
        module.eval()
        return module

    @classmethod
    def _from_state(
        cls, state: SpeakerState, source: str, evaluation: TrialData | None
    ) -> SpeakerModule:
        model = build(state.model, SpeakerEncoder, source, state.imports)
        feature = build(state.feature, FeatureExtractor, source, state.imports)
        loss = build(state.loss, SpeakerLoss, source, state.imports)
        with constructor_errors(source, "its module"):
            return cls(
                model=model,
                feature=feature,
                loss=loss,
                num_classes=state.num_classes,
                num_speakers=state.num_speakers,
                evaluation=evaluation,
                class_share=state.class_share,
            )

    @property
    def margin(self) -> float | None:
        """The margin of the loss, set by MarginSchedule; ``None`` if the loss has none."""
        return self.loss.margin if isinstance(self.loss, MarginLoss) else None

    @margin.setter
    def margin(self, value: float) -> None:
        if not isinstance(self.loss, MarginLoss):
            raise UsageError(
                f"the margin {value} cannot be set: {type(self.loss).__name__} has none"
            )
        self.loss.margin = value

    def embed(
        self, waveforms: np.ndarray | paddle.Tensor, lengths: np.ndarray | None = None
    ) -> paddle.Tensor:
        """Embeddings ``[batch, embedding_dim]`` of waveforms ``[batch, samples]`` in [-1, 1].

        In training mode dither and SpecAugment are applied, if they are configured.

        Args:
            waveforms: float32; shorter waveforms are padded at the end.
            lengths: int64 ``[batch]``, the samples before the padding; ``None`` if nothing is
                padded.
        """
        with paddle.no_grad():  # features have no trained parameters
            features = self.feature(paddle.to_tensor(waveforms), lengths)
            if self.spec_augment is not None:
                features = self.spec_augment(features)
        return self.model(
            features, None if lengths is None else paddle.to_tensor(self.feature.frames(lengths))
        )

    def embeddings(self, batch: EvaluationBatch) -> np.ndarray:
        """Embeddings of whole utterances, float32 ``[keys, embedding_dim]``.

        Validation during training and every other evaluation use this one method.
        """
        return self.embed(batch.waveforms).astype("float32").numpy()

    def on_step_start(self, batches: Sequence[SpeakerBatch], key: int) -> None:
        if self.head is not None and self.head.samples:
            own = np.concatenate([batch.labels for batch in batches]).tolist()
            # All ranks sample with rank 0's key, around the labels of all ranks.
            (key, _), *_ = exchanged = self.ranks.exchange([key, own])
            labels = np.concatenate([labels for _, labels in exchanged])
            self.head.sample(labels.astype("int64"), key)

    def training_step(self, batch: SpeakerBatch) -> tuple[paddle.Tensor, Scalars]:
        if self.head is None:
            raise UsageError("a module without a head cannot train: give num_classes")
        labels = paddle.to_tensor(batch.labels)
        embeddings = self.embed(batch.waveforms)
        scores, labels = self.head.training_scores(embeddings, labels)
        scalars = {}
        if self.at_log_point:
            scalars["accuracy"] = margin_free_accuracy(self.loss.class_scores(scores), labels)
        return self.loss.objective(scores, labels, embeddings), scalars

    def gather_embeddings(self, embeddings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The embeddings of all ranks by utterance id; every rank must call it."""
        if self.ranks.size == 1:
            return dict(embeddings)
        # An extra row, because a rank may have no embedding and an empty stack fails.
        rows = [*embeddings.values(), np.empty(self.model.embedding_dim, np.float32)]
        keys = np.frombuffer("\n".join(embeddings).encode(), np.uint8)
        texts = [part.tobytes().decode() for part in self.ranks.gather(keys)]
        parts = self.ranks.gather(np.stack(rows))
        # strict=False, because "".split("\n") gives one key although there is no row.
        return {
            key: row
            for text, part in zip(texts, parts, strict=True)
            for key, row in zip(text.split("\n"), part[:-1], strict=False)
        }

    def on_validation_start(self) -> None:
        self._embeddings = {}

    def validation_step(self, batch: EvaluationBatch) -> None:
        self._embeddings.update(zip(batch.keys, self.embeddings(batch), strict=True))

    def predict_step(self, batch: EvaluationBatch) -> np.ndarray:
        """Embeddings of whole utterances, as :meth:`embeddings`."""
        return self.embeddings(batch)

    def on_validation_end(self) -> dict[str, float]:
        if self.evaluation is None:
            raise UsageError("there are no trials to validate on: give the data a trial list")
        embeddings = self.gather_embeddings(self._embeddings)
        self._embeddings = {}
        metrics: dict[str, float] = {}
        lists = self.evaluation.lists
        for suffix, trials in zip(_suffixes(lists), lists.values(), strict=True):
            scores = score_trials(trials, embeddings, self.evaluation.enrollment)
            eer, threshold = compute_eer(scores, trials.targets)
            values = (eer, compute_min_dcf(scores, trials.targets), threshold)
            names = (f"{metric}{suffix}" for metric in METRICS)
            metrics.update(zip(names, values, strict=True))
        return metrics

    def state_keys(self) -> dict[str, Any]:
        return {
            "model": self.model.spec,
            "feature": self.feature.spec,
            "loss": self.loss.spec,
            **({} if self.class_share == 1 else {"head": {"class_share": self.class_share}}),
            "num_classes": self.num_classes,
            "num_speakers": self.num_speakers,
            "margin": self.margin,
            **({"imports": self.imports} if self.imports else {}),
        }

    def fingerprint(self) -> dict[str, Any]:
        keys = {
            name: value
            for name, value in self.state_keys().items()
            if name not in ("num_speakers", "margin", "imports")
        }
        return {
            **keys,
            "spec_augment": None if self.spec_augment is None else self.spec_augment.spec,
        }


def _suffixes(lists: Collection[str]) -> list[str]:
    """What the metrics' names end in, for each trial list: nothing for the first."""
    return ["", *(f"_{name}" for name in list(lists)[1:])]
