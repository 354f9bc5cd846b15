"""What a recipe is: a data set, how its manifests are made, and configurations for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vprtrain.errors import UsageError

if TYPE_CHECKING:
    from vprtrain.data.preparation import Preparation


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A data set, how its manifests are made, and the configurations that train on them.

    Nothing heavy is imported before ``prepare`` or ``demo`` is called.
    """

    name: str
    """What ``--recipe`` takes."""
    title: str
    """The data set's name, for people."""
    folder: Path
    """Holds the YAML files; a file's name without ``.yaml`` is the configuration's name."""
    out_dir: str
    """Where the manifests go by default, and where the YAML files expect them."""
    add_options: Callable[[ArgumentParser], None]
    """Declares what ``prepare`` needs to know of this data set."""
    prepare: Callable[[Preparation, Namespace], None]
    """Writes the manifests by these options."""
    default_config: str = "campplus"
    """The configuration that is used without ``--config``."""
    demo: Callable[[Preparation, Path, int], None] | None = None
    """Makes a synthetic corpus in a folder with some processes, and its manifests.

    The configuration ``demo`` trains on them. ``None`` where the data set has no synthetic twin.
    """

    def config_names(self) -> list[str]:
        """The names of the configurations, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def config_file(self, name: str) -> Path:
        """The YAML file of a configuration.

        Raises:
            UsageError: the recipe has no configuration of that name.
        """
        if name not in self.config_names():
            raise UsageError(
                f"recipe {self.name} has no configuration '{name}': "
                f"known are {', '.join(self.config_names())}"
            )
        return self.folder / f"{name}.yaml"
