"""Cadences to begin with, each with tests and templates, laid out as a workspace is; `new_cadence.py` fits them."""
