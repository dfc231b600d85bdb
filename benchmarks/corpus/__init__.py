"""Reads every recorded device, and compares the readings with the expected ones: `python -m benchmarks.corpus --help`."""
