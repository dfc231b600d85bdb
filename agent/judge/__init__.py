"""Readings become verdicts: every sweep is judged by the rules of the bundle, on the spot."""
