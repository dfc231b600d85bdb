"""Who may speak: tokens of agents and persons, browser sessions."""
