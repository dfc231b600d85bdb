"""Watchkeeper beside its peers, measured in the same run; docs/performance.md tells how to read the figures."""
