"""How messages leave the outbox: in which order, by which channel, how many at once, and what follows a failure."""
