"""The timeline of a recording as a PNG file in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vprtrain.lists.segment import Segment
from vprtrain.scoring.plots import draw_png, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = 10
_MINUTES_FROM = 300.0


def timeline_plot(segments: Sequence[Segment], *, title: str) -> bytes:
    """A row for each speaker, in the order in which they begin, with a bar for each segment.

    Raises:
        UsageError: matplotlib is not installed.
    """
    speakers = list(dict.fromkeys(segment.speaker for segment in segments))
    last = max((segment.end for segment in segments), default=0.0)
    unit, name = (60.0, "minutes") if last >= _MINUTES_FROM else (1.0, "seconds")

    def draw(axes: Axes) -> None:
        for row, speaker in enumerate(speakers):
            own = [segment for segment in segments if segment.speaker == speaker]
            axes.broken_barh(
                [(segment.start / unit, segment.duration / unit) for segment in own],
                (row - 0.4, 0.8),
                color=f"C{row % _COLOURS}",
            )
        labels = [
            f"{plain(speaker)} ({sum(s.duration for s in segments if s.speaker == speaker):.0f} s)"
            for speaker in speakers
        ]
        axes.set_yticks(range(len(speakers)), labels=labels)
        axes.invert_yaxis()
        axes.set(xlabel=f"time ({name})", title=plain(title))

    return draw_png(draw, width=12.0, height=1.5 + 0.4 * max(1, len(speakers)))
