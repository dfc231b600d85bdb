"""Probes: each reads devices of one kind and imports no other probe."""
