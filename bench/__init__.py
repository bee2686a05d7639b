"""Figures that SPECIFICATION.md promises, measured: ``python -m bench``, called by ``make bench``.

A figure is a module in ``bench/figures``; ``bench.figure`` says what it declares. Contenders take turns, run by
run, so that a machine that gets slower gets slower for all of them.
"""
