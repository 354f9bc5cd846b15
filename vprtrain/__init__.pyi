from .engine import Callback as Callback
from .engine import DataModule as DataModule
from .engine import Engine as Engine
from .engine import Module as Module
from .inference import Predictor as Predictor
from .version import __version__ as __version__
