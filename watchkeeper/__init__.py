"""Watchkeeper watches machine rooms; this room is only the front door."""

__version__ = "0.1.0"
