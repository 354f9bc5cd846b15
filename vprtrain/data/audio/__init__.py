"""Reading audio files of any format, sample rate and channel count as mono float32 at one rate."""

from vprtrain.data.audio.blocks import read_blocks
from vprtrain.data.audio.examination import Examination, examine_audio
from vprtrain.data.audio.files import AudioFile, ByteRange, InMemory
from vprtrain.data.audio.microphone import record
from vprtrain.data.audio.reading import AudioError, audio_duration, fill, read_audio
from vprtrain.data.audio.speech import Audio, read_speech
from vprtrain.data.audio.track import Channel, Damage, Track

__all__ = [
    "Audio",
    "AudioError",
    "AudioFile",
    "ByteRange",
    "Channel",
    "Damage",
    "Examination",
    "InMemory",
    "Track",
    "audio_duration",
    "examine_audio",
    "fill",
    "read_audio",
    "read_blocks",
    "read_speech",
    "record",
]
