"""Which process pushes as an agent, and what it is asked to tell again."""
