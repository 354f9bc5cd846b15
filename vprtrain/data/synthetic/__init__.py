"""Synthetic voices for the quick start and for tests."""

from vprtrain.data.synthetic.articulation import Speaker, draw_speaker
from vprtrain.data.synthetic.voices import add_channel, draw_utterance

__all__ = [
    "Speaker",
    "draw_speaker",
    "add_channel",
    "draw_utterance",
]
