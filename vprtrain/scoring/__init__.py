"""Metrics, trial lists, score normalisation, calibration, PLDA and reports, without Paddle.

The inputs are NumPy arrays and files. A system is scored in this order: :func:`read_trials`, then
:func:`score_trials` (cosines of embeddings) or :func:`read_scores` (from a file), optionally
:func:`normalize_scores` or a :class:`Calibration`, and :func:`rate` for all metrics.
"""

import lazy_loader

# The names and their modules are listed in __init__.pyi beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
