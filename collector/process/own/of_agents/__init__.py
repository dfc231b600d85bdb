"""What the collector observes of its agents."""
