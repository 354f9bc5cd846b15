"""Checkpoints: what they hold, how they reach the disk whole, and how a run directory keeps them."""

from vprtrain.checkpoint.arrays import Arrays, decode_arrays, encode_arrays
from vprtrain.checkpoint.snapshot import Snapshot
from vprtrain.checkpoint.state_file import SavedCheckpoint, open_checkpoint
from vprtrain.checkpoint.store import BEST, LAST, Store, resolve_checkpoint

__all__ = [
    "BEST",
    "LAST",
    "Arrays",
    "SavedCheckpoint",
    "Snapshot",
    "Store",
    "decode_arrays",
    "encode_arrays",
    "open_checkpoint",
    "resolve_checkpoint",
]
