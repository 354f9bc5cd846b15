"""A run in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from vprtrain.callbacks.extras import import_extra
from vprtrain.callbacks.tracking_log import TrackingLog, refusals
from vprtrain.engine import Run
from vprtrain.engine.persistence import fingerprints


class WandbLog(TrackingLog):
    """Logs the numbers of training (``train/``) and of validation (``validation/``), and the
    configuration. Needs ``pip install 'vprtrain[wandb]'``.

    Args:
        project: the project's name.
        name: of the run; ``None`` for the name of the run directory.
        mode: ``offline`` writes into the run directory, for ``wandb sync``; ``None`` for W&B's own
            choice (``WANDB_MODE``).

    Raises:
        UsageError: wandb is not installed.
        RunError: from a hook, when W&B does not start.
    """

    role = "the W&B run"
    id_file = "wandb_run_id"

    def __init__(
        self,
        *,
        project: str = "vprtrain",
        name: str | None = None,
        mode: Literal["online", "offline"] | None = None,
    ) -> None:
        super().__init__()
        self._wandb = import_extra("wandb", "wandb")
        self._project = project
        self._name = name
        self._mode = mode
        self._run: Any = None

    def begin(self, run: Run, known_id: str | None) -> str:
        assert run.run_dir is not None
        with refusals("W&B", self._wandb.Error):
            self._run = self._wandb.init(
                project=self._project,
                name=self._name or run.run_dir.name,
                dir=run.run_dir,
                id=known_id,
                resume="allow",
                mode=self._mode,
                config=fingerprints(run)["config"],
                settings=self._wandb.Settings(console="off"),  # the terminal stays ours
            )
        return str(self._run.id)

    def send(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def end(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
