"""A modular trainer on PaddlePaddle with callbacks, and a speaker-verification toolkit on top of it."""

import lazy_loader

# The names and their modules are listed in __init__.pyi beside this file. They are imported on first
# use, so that scoring or reading audio does not pay for importing Paddle.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
