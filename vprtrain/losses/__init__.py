"""Classification heads and margin losses. A head gives cosines, a loss adds the margin."""

from vprtrain.losses.aam import AAMLoss
from vprtrain.losses.heads import CosineHead, margin_free_accuracy
from vprtrain.losses.margin import MarginLoss, MarginSoftmaxLoss

__all__ = ["AAMLoss", "CosineHead", "MarginLoss", "MarginSoftmaxLoss", "margin_free_accuracy"]
