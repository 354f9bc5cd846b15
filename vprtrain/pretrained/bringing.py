"""A published model as a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from vprtrain.errors import UsageError
from vprtrain.files import TEMPORARY
from vprtrain.pretrained.catalogue import PublishedModel
from vprtrain.pretrained.fetching import fetched


def bring(model: PublishedModel, out_dir: Path, *, file: Path | None = None) -> list[str]:
    """Fetch a published model, and convert it to a checkpoint.

    The checkpoint is one of :func:`vprtrain.conversion.convert`: it has no threshold before it is
    calibrated or validated. Its ``converted_from`` says which model it is.

    Args:
        model: one of the catalogue.
        out_dir: the new folder; it appears whole or not at all. A download is kept beside it until
            the folder is there.
        file: the model's file, or the wheel that holds it: nothing is fetched then.

    Returns:
        What the model was taken for, for a person, as :func:`vprtrain.conversion.convert` says it.

    Raises:
        UsageError: ``out_dir`` exists, or ``file`` is not the model's.
        RunError: the model cannot be fetched, is another than the published one, or cannot be
            written.
    """
    if os.path.lexists(out_dir):
        raise UsageError(f"{out_dir} exists already: give a new folder")
    download = out_dir.with_name(f"{TEMPORARY}{out_dir.name}-download")
    with fetched(model, download, file=file) as source:
        from vprtrain.conversion.converting import convert  # imports Paddle

        origin = {
            "name": model.name,
            "page": model.page,
            "licence": model.licence,
            "sha256": model.sha256,
        }
        return convert(model.toolkit, source, out_dir, origin=origin)
