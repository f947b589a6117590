"""The one error of the audit that a user sees as a line, not as a trace."""

from __future__ import annotations


class AuditError(Exception):
    """The audit cannot be made: something is unreachable, gone or contradictory; the message says what."""
