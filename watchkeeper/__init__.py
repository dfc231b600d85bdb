"""Watchkeeper monitors machine rooms. This package holds the command line; the other packages are inside it."""

__version__ = "0.1.0"
