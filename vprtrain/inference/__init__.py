"""Trained models in use: converted from other toolkits, exported, applied to recordings."""
