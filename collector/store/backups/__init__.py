"""Backups of the whole store: written while the collector runs, checked, encrypted, kept in a folder, restored."""
