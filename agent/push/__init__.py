"""Pushes the spool to the collector, and receives the bundle."""
