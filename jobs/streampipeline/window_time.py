"""Where windows lie: they start at multiples of the slide since 1970, as in Flink. Times are ms, UTC."""

from __future__ import annotations

from streampipeline.api.spec import Window


def align_down(instant: int, step: int) -> int:
    """The greatest multiple of `step` that is not after `instant`."""
    return instant - instant % step


def align_up(instant: int, step: int) -> int:
    """The smallest multiple of `step` that is not before `instant`."""
    return -align_down(-instant, step)


def windows_per_instant(window: Window) -> int:
    """The most windows that can hold one instant."""
    return -(-window.size_ms // window.slide_ms)


def window_starts(instant: int, window: Window) -> list[int]:
    """Starts of the windows that hold the instant, the earliest first; none where the slide leaves a gap."""
    return window_starts_between(instant, instant + 1, window)


def window_starts_between(start: int, end: int, window: Window) -> list[int]:
    """Starts of the windows that hold an instant of [start, end), the earliest first."""
    if end <= start:
        return []
    first = align_up(start - window.size_ms + 1, window.slide_ms)
    return list(range(first, end, window.slide_ms))
