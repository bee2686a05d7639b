"""Loops that compare what is with what should be."""
