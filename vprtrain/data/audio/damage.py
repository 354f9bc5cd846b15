"""Saying once that a recording is damaged."""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock

from vprtrain.data.audio.files import AudioFile, InMemory
from vprtrain.data.audio.track import Damage

log = logging.getLogger(__name__)

_MOST_REMEMBERED = 10_000
_said: OrderedDict[object, None] = OrderedDict()
_lock = Lock()


def say_once(audio: AudioFile, damage: Damage) -> None:
    """Warn of the damage of a recording, unless that was said in this process.

    The last 10,000 recordings are remembered.
    """
    key = (audio.name, hash(audio.content)) if isinstance(audio, InMemory) else str(audio)
    with _lock:
        known = key in _said
        _said[key] = None
        _said.move_to_end(key)
        if len(_said) > _MOST_REMEMBERED:
            _said.popitem(last=False)
    if not known:
        log.warning("%s: damaged: %s", audio, damage)
