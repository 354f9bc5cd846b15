from .app import create_app as create_app
from .batching import BatchingExtractor as BatchingExtractor
from .recognizer import Recognizer as Recognizer
from .server import run_server as run_server
from .settings import Limits as Limits
from .settings import ServerSettings as ServerSettings
from .tokens import Tokens as Tokens
