"""Probes: each reads devices of one kind, and knows no other probe."""
