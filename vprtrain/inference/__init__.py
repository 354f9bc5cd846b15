"""A trained model in an application: embedding, comparison, enrolment, recognition."""

import lazy_loader

# The names and their modules are listed in __init__.pyi beside this file.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
