"""The agent decides whether something is wrong, and says so once it is on disk."""
