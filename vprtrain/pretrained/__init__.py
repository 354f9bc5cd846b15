"""Published models of other toolkits: what there is, how it is fetched, and as a checkpoint.

:func:`read_catalogue` lists the models, :func:`bring` makes a checkpoint of one. A file is used
only if its size and its SHA-256 are those of the catalogue, and no code in it is executed.
"""

from vprtrain.pretrained.bringing import bring
from vprtrain.pretrained.catalogue import PublishedModel, Url, Wheel, find_model, read_catalogue
from vprtrain.pretrained.fetching import fetched

__all__ = [
    "PublishedModel",
    "Url",
    "Wheel",
    "bring",
    "fetched",
    "find_model",
    "read_catalogue",
]
