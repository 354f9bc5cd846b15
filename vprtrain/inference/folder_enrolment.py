"""Enrolling a folder of users, laid out as ppvector's ``audio_db``:
``FOLDER/<user>/<recording>``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vprtrain.data.audio.reading import AudioError
from vprtrain.errors import UsageError
from vprtrain.inference.predictor import Predictor
from vprtrain.voiceprints.database import checked_name


class FolderEnrolment(NamedTuple):
    """What became of a folder."""

    enrolled: dict[str, int]
    """Recordings by user"""
    known: list[str]
    """Users who were in the database before, and were left as they are"""
    refused: dict[str, str]
    """Why, by recording; and by folder, where it gives no user"""


def enroll_folder(predictor: Predictor, folder: Path) -> FolderEnrolment:
    """Enrol the recordings in every folder of a folder under its name, one user after the other.

    Users who are enrolled already are passed over, so the same call goes on where it was
    interrupted. Files whose name begins with a point, and those that stand beside the folders
    (ppvector's index is a pickle), are not looked at.

    Raises:
        UsageError: there is no such folder, no folder in it, or no database.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder: expected one with a folder of recordings for every user"
        )
    places = sorted(
        place for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")
    )
    if not places:
        raise UsageError(f"{folder} has no folders in it: expected one for every user")
    found = FolderEnrolment({}, [], {})
    before = predictor.voiceprints.users()
    for place in places:
        try:
            user = checked_name(place.name)
        except UsageError as error:
            found.refused[str(place)] = str(error)
            continue
        if user in before:
            found.known.append(user)
            continue
        embeddings = _embeddings(predictor, place, found.refused)
        if embeddings:
            found.enrolled[user] = predictor.voiceprints.add(user, np.stack(embeddings))
        else:
            found.refused[str(place)] = "no recording in it can be used"
    return found


def _embeddings(predictor: Predictor, place: Path, refused: dict[str, str]) -> list[np.ndarray]:
    embeddings = []
    for path in sorted(
        path for path in place.iterdir() if path.is_file() and not path.name.startswith(".")
    ):
        try:
            embeddings.append(predictor.embed(path))
        except AudioError as error:
            refused[str(path)] = str(error).removeprefix(f"{path}: ")
    return embeddings
