"""What a phase looks like on a terminal."""

from __future__ import annotations

PHASES = {
    "Startup": "cyan",
    "Normal": "green",
    "Triggering": "yellow",
    "Fallback": "red",
    "Resuming": "blue",
}
"""Colours, as rich names them."""
