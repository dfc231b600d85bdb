"""Every recorded device, read and compared with what is known to be right. See `python -m benchmarks.corpus --help`."""
