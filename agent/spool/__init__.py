"""The agent's disk queue: what was judged and read, until the collector has it."""
