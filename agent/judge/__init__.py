"""Judges every sweep by the rules of the bundle: readings become verdicts."""
