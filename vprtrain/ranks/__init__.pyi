from .launched import launched_rank as launched_rank
from .launched import launched_size as launched_size
from .launched import require_one_process as require_one_process
from .launched import start as start
from .launcher import Launch as Launch
from .launcher import LaunchError as LaunchError
from .ranks import Ranks as Ranks
