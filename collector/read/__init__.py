"""Queries for pages, API and metrics. Read only."""
