"""The enrolment of a folder of users in the layout of ppvector's ``audio_db``:
``FOLDER/<user>/<recording>``."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vprtrain.data.audio.reading import AudioError
from vprtrain.data.preparation.recognising import reason_to_skip
from vprtrain.errors import UsageError
from vprtrain.inference.predictor import Predictor
from vprtrain.voiceprints.user import checked_name, checked_purpose


class FolderEnrolment(NamedTuple):
    """The result of the enrolment of a folder."""

    enrolled: dict[str, int]
    """The number of recordings by user."""
    known: list[str]
    """Users who were in the database before. They are unchanged."""
    refused: dict[str, str]
    """The reason by recording, or by folder if the folder enrolled no user."""


def enroll_folder(
    predictor: Predictor, folder: Path, *, purpose: str = "", single_speaker: bool = False
) -> FolderEnrolment:
    """Enrol one user for each folder in a folder. The user's name is the name of the folder.

    Users who are enrolled already are skipped, so a repeated call continues after an interruption.
    Names that begin with a dot are ignored, and so are files beside the folders that are not
    recordings (ppvector keeps an index there, which is a pickle).

    Args:
        purpose: what the recordings may be used for, stored with each of them.
        single_speaker: refuse recordings with more than one voice.

    Raises:
        UsageError: the purpose is not valid, the folder does not exist or has no folders in it, or
            there is no database.
    """
    purpose = checked_purpose(purpose)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder: expected one with a folder of recordings for each user"
        )
    visible = sorted(place for place in folder.iterdir() if not place.name.startswith("."))
    places = [place for place in visible if place.is_dir()]
    if not places:
        raise UsageError(f"{folder} has no folders in it: expected one for each user")
    found = FolderEnrolment({}, [], {})
    for path in visible:
        if not path.is_dir() and reason_to_skip(path) is None:
            found.refused[str(path)] = "a recording that is in no user's folder"
    before = predictor.voiceprints.users()
    users: dict[Path, str] = {}
    recordings: list[str] = []
    for place in places:
        try:
            user = checked_name(place.name)
        except UsageError as error:
            found.refused[str(place)] = str(error)
            continue
        if user in before:
            found.known.append(user)
            continue
        users[place] = user
        recordings += _recordings(place, found.refused)
    if single_speaker:
        recordings = [each for each in recordings if _has_one_voice(predictor, each, found.refused)]
    _enroll(predictor, users, recordings, purpose, found)
    for place, user in users.items():
        if user not in found.enrolled:
            found.refused[str(place)] = "no recording in it can be used"
    return found


def _recordings(place: Path, refused: dict[str, str]) -> list[str]:
    """The files of a user's folder."""
    visible = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    for path in visible:
        if path.is_dir():
            refused[str(path)] = "a folder in a user's folder; the recordings in it are not read"
    return [str(path) for path in visible if not path.is_dir()]


def _has_one_voice(predictor: Predictor, path: str, refused: dict[str, str]) -> bool:
    try:
        predictor.require_one_speaker(path)
    except AudioError as error:
        refused[path] = str(error).removeprefix(f"{path}: ")
    return path not in refused


def _enroll(
    predictor: Predictor,
    users: dict[Path, str],
    recordings: list[str],
    purpose: str,
    found: FolderEnrolment,
) -> None:
    """Enrol each user as soon as the recordings in the user's folder are embedded."""
    embedded = predictor.embed_each({path: path for path in recordings}, enrolment=True)
    for place, of_user in groupby(embedded, key=lambda each: Path(each[0]).parent):
        embeddings = []
        for path, embedding in of_user:
            if isinstance(embedding, AudioError):
                found.refused[path] = str(embedding).removeprefix(f"{path}: ")
            else:
                embeddings.append(embedding)
        if embeddings:
            user = users[place]
            found.enrolled[user] = predictor.voiceprints.add(
                user, np.stack(embeddings), purpose=purpose
            )
