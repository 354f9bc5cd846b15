"""The database of voiceprints, and the search for the nearest one."""

from vprtrain.voiceprints.database import Voiceprints, checked_name, mean_voiceprint
from vprtrain.voiceprints.gallery import Gallery

__all__ = [
    "Gallery",
    "Voiceprints",
    "checked_name",
    "mean_voiceprint",
]
