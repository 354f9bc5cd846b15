"""Synthetic voices for the quick start and for tests."""

from vprtrain.data.synthetic.articulation import Speaker, draw_speaker
from vprtrain.data.synthetic.voices import add_channel, draw_utterance

__all__ = [
    "Speaker",
    "add_channel",
    "draw_speaker",
    "draw_utterance",
]
