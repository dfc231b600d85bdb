"""Channels: each sends a message in its own way, and returns a receipt instead of raising."""
