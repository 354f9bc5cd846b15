"""Losses and the heads that they build. A head scores each class; a loss adds the margin."""

from vprtrain.losses.aam import AAMLoss
from vprtrain.losses.am import AMLoss, ARMLoss
from vprtrain.losses.base import SpeakerLoss
from vprtrain.losses.ce import CELoss
from vprtrain.losses.heads import (
    CosineHead,
    Head,
    LinearHead,
    SampledCosineHead,
    margin_free_accuracy,
)
from vprtrain.losses.margin import MarginLoss, MarginSoftmaxLoss
from vprtrain.losses.sphereface2 import SphereFace2Loss
from vprtrain.losses.sub_center import SubCenterInterTopKLoss, SubCenterLoss
from vprtrain.losses.triplet import TripletAngularMarginLoss

__all__ = [
    "AAMLoss",
    "AMLoss",
    "ARMLoss",
    "CELoss",
    "CosineHead",
    "Head",
    "LinearHead",
    "MarginLoss",
    "MarginSoftmaxLoss",
    "SampledCosineHead",
    "SpeakerLoss",
    "SphereFace2Loss",
    "SubCenterInterTopKLoss",
    "SubCenterLoss",
    "TripletAngularMarginLoss",
    "margin_free_accuracy",
]
