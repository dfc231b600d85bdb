"""The agent decides whether something is wrong, and reports it once it is on disk."""
