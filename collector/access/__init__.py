"""Authentication: tokens of agents and persons, browser sessions."""
