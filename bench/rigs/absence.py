"""The one reason not to measure that is nobody's fault."""

from __future__ import annotations


class NotHere(Exception):
    """This machine hasn't got what a contender takes. The text says what is missing and how to get it."""
