"""Fixtures that several files share, so that each is made once in a session."""

from tests.support.api_server import api_server

__all__ = ["api_server"]
