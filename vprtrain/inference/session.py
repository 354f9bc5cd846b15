"""The voices of a live session: users, and numbers for the others."""

from __future__ import annotations

import numpy as np

from vprtrain.diarization.naming import numbered_name
from vprtrain.diarization.online import HeardVoices, OnlineClustering
from vprtrain.inference.matching import Matcher, Voice


class SessionVoices:
    """Gives the voices of a session that are no user's numbers, in the order in which they appear.

    Args:
        clustering: tells voices apart.
        matcher: compares them with the users.
        threshold: a user is recognised at this score or above.
    """

    def __init__(self, clustering: OnlineClustering, matcher: Matcher, *, threshold: float) -> None:
        self._clustering, self._matcher, self._threshold = clustering, matcher, threshold
        self.forget()

    def forget(self) -> None:
        """Begin another session."""
        self._heard = HeardVoices(self._clustering)
        self._numbers: dict[int, str] = {}

    def named(
        self, unit: np.ndarray, user: str | None, score: float, *, end: float, speech: float
    ) -> tuple[str | None, float, str | None]:
        """The user, the score, and the number of a window's voice.

        A window whose own score is too low is the user's who matches its voice as a whole, and the
        score is then that of the voice. A voice gets a number when it is first found to be no
        user's, and keeps it when it is enrolled.

        Args:
            unit: the window's embedding ``[dimension]``, of length 1.
            user, score: of the window itself.
            end, speech: as :meth:`vprtrain.diarization.HeardVoices.hear`.
        """
        voice = self._heard.hear(unit, end=end, speech=speech)
        if voice is None:
            return user, score, None
        if user is None and self._matcher.has_database:
            whole = Voice(self._heard.mean(voice))
            user, of_voice = self._matcher.nearest(whole, threshold=self._threshold)
            score = score if user is None else of_voice
        if user is None:
            self._numbers.setdefault(voice, numbered_name(len(self._numbers) + 1))
        return user, score, self._numbers.get(voice)
