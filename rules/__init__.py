"""The language of thresholds: what an operator writes, what it means, and what it says of a reading. Everything is pure."""
