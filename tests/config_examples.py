"""Small classes for tests/commands/test_config.py; jsonargparse needs importable ones."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Network(ABC):
    """A base class, never chosen itself."""

    def __init__(self, *, input_size: int = 80, embedding_dim: int = 192) -> None:
        self.input_size = input_size
        self.embedding_dim = embedding_dim

    @abstractmethod
    def depth(self) -> int: ...


class Pooling:
    def __init__(self, *, heads: int = 1) -> None:
        self.heads = heads


class EcapaTdnn(Network):
    """A network with a pooling.

    Args:
        input_size: features per frame
        channels: width of every layer
        pooling: over time
    """

    def __init__(
        self,
        *,
        input_size: int = 80,
        embedding_dim: int = 192,
        channels: int = 512,
        pooling: Pooling | None = None,
    ) -> None:
        if channels % 8:
            raise ValueError(f"channels must be a multiple of 8, found {channels}")
        super().__init__(input_size=input_size, embedding_dim=embedding_dim)
        self.channels = channels
        self.pooling = pooling

    def depth(self) -> int:
        return 3


class CAMPPlus(Network):
    def __init__(
        self, *, input_size: int = 80, embedding_dim: int = 192, growth_rate: int = 32
    ) -> None:
        super().__init__(input_size=input_size, embedding_dim=embedding_dim)
        self.growth_rate = growth_rate

    def depth(self) -> int:
        return 12


class Hook:
    """A base class of list items."""


class Warmup(Hook):
    def __init__(self, *, epochs: float = 1.0, peak: float = 0.1) -> None:
        self.epochs = epochs
        self.peak = peak


class Patience(Hook):
    def __init__(self, *, checks: int, monitor: str = "eer") -> None:
        self.checks = checks
        self.monitor = monitor


class Corpus:
    def __init__(
        self,
        *,
        train_list: str = "train.tsv",
        batch_size: int = 64,
        seconds: float = 3.0,
        speeds: tuple[float, ...] = (1.0,),
        noise: str | None = None,
        epochs: int | None = None,
    ) -> None:
        self.train_list = train_list
        self.batch_size = batch_size
        self.seconds = seconds
        self.speeds = speeds
        self.noise = noise
        self.epochs = epochs
