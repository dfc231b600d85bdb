"""Traps and informs: limited by source, authenticated and decoded, turned into polls and events. Apart from `events`,
an agent imports this only if its inventory has `traps`."""
