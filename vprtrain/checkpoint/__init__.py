"""Checkpoints: what they hold, how they reach the disk whole, and how a run directory keeps them."""
