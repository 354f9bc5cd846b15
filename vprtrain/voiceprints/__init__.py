"""The database of voiceprints, and the search for the nearest one."""

from vprtrain.voiceprints.database import Voiceprints
from vprtrain.voiceprints.gallery import Gallery
from vprtrain.voiceprints.postgres_url import is_postgres_url, shown_url
from vprtrain.voiceprints.user import checked_name, checked_purpose, mean_voiceprint

__all__ = [
    "Gallery",
    "Voiceprints",
    "checked_name",
    "checked_purpose",
    "is_postgres_url",
    "mean_voiceprint",
    "shown_url",
]
