"""A modular trainer on PaddlePaddle with callbacks, and a speaker-verification toolkit."""

import lazy_loader

# The names and their modules are listed in __init__.pyi beside this file. They are imported on
# first use, so that scoring or reading audio does not pay for importing Paddle.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        if error.name == "paddle":
            # Not above: until the command line can take care of Ctrl-C, every import is too long.
            from vprtrain.errors import PaddleMissingError

            raise PaddleMissingError from None
        raise
