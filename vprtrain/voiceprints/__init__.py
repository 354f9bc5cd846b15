"""The database of voiceprints, and the search for the nearest one."""

from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.gallery import Gallery
from vprtrain.voiceprints.user import checked_name, mean_voiceprint

__all__ = [
    "Gallery",
    "Voiceprints",
    "checked_name",
    "mean_voiceprint",
]
