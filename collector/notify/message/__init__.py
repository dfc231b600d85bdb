"""The parts of a message: what it is about, its lines, and how values and times are written. Pure."""
