"""Whole systems from distributions' packages, laid down in a jail without any right on this host."""
