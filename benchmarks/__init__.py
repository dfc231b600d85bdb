"""Benchmarks of Watchkeeper, with its peers measured in the same run. docs/performance.md explains the figures."""
