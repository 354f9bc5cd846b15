"""Models of other toolkits as checkpoints: their files, their architectures, their front ends."""

from vprtrain.conversion.converting import convert
from vprtrain.conversion.ppvector import read_ppvector
from vprtrain.conversion.recognition import Reading, readings, recognise
from vprtrain.conversion.reference import state_from_reference
from vprtrain.conversion.toolkits import (
    Choices,
    ForeignModel,
    read_3dspeaker,
    read_speechbrain,
    read_wespeaker,
)
from vprtrain.conversion.torch_file import read_torch_tensors

__all__ = [
    "Choices",
    "ForeignModel",
    "Reading",
    "convert",
    "read_3dspeaker",
    "read_ppvector",
    "read_speechbrain",
    "read_torch_tensors",
    "read_wespeaker",
    "readings",
    "recognise",
    "state_from_reference",
]
