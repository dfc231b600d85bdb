"""What the collector observes itself, judged by rules like every other reading: one module for each source."""
