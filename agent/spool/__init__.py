"""The agent's disk queue: it keeps verdicts and readings until the collector has them."""
