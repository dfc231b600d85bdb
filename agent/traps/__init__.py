"""Traps and informs: limited by source, understood, turned into polls and events. Nothing here is imported by an agent whose
inventory names no `traps`, but for `events`."""
