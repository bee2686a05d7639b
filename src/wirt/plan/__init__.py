"""Decisions: pure and synchronous. No I/O, no clock, no randomness that is not passed in."""
