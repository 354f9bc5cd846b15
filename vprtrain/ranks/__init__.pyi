from .launched_ranks import connect_ranks as connect_ranks
from .launched_ranks import launched_rank as launched_rank
from .launched_ranks import launched_world_size as launched_world_size
from .launched_ranks import require_one_process as require_one_process
from .launcher import Launch as Launch
from .launcher import LaunchError as LaunchError
from .ranks import Ranks as Ranks
