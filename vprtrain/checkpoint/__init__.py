"""Checkpoints: the files of a generation, the record model.state, the store of a run directory."""

import lazy_loader

# The names and their modules are listed in __init__.pyi beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
