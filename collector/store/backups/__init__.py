"""Backups of the whole store."""
