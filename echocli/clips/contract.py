"""The input contract: what a network expects to see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How a window is cut from a clip and turned into numbers.

    It is saved with every checkpoint, so that ``embed`` cannot read differently from
    ``pretrain``.
    """

    frames: int = 16
    """Frames a window."""
    size: int = 112
    """Height and width of a frame, in pixels."""
    seconds: float | None = 1.0
    """How long a window lasts: frame ``i`` is the one nearest to ``i * seconds / frames``."""
    stride: int | None = None
    """Take every so many-th frame instead, whatever the frame rate; overrides ``seconds``."""
    mean: tuple[float, ...] = (0.13,)
    """Subtracted after scaling to 0..1: one number, or one for each channel. The default is
    near that of masked apical clips; any fixed pair works, as it travels with the network."""
    std: tuple[float, ...] = (0.19,)
    """Divided by: one number, or one for each channel."""
    channels: int = 1
    """1 for grey; 3 repeats it, for networks that were trained on colour."""
    sector_tokens: bool = True
    """Whether the network sees only tokens in the sector: what is black in every frame is then
    neither hidden, predicted nor encoded. Measured: faster, and EF and masks are learnt rather
    better (docs/performance.md). Public networks were trained on all tokens."""

    def __post_init__(self) -> None:
        """Check the values and settle seconds against stride.

        Raises:
            ValueError: If a value makes no sense.
        """
        if self.stride is not None:
            # Written so that a saved contract never says two things about time.
            object.__setattr__(self, "seconds", None)
        elif self.seconds is None:
            raise ValueError("One of seconds and stride must be set.")
        if min(self.frames, self.size, self.channels, self.stride or 1) < 1:
            raise ValueError("frames, size, channels and stride must be at least 1.")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds}; it must be positive.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} needs one number, or one for each channel.")
        if min(self.std) <= 0:
            raise ValueError("std must be positive.")

    @property
    def span(self) -> float:
        """Time from the first to the last frame of a window: seconds, or frames by stride."""
        if self.stride is not None:
            return float((self.frames - 1) * self.stride)
        assert self.seconds is not None
        return (self.frames - 1) * self.seconds / self.frames
