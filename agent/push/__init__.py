"""From the spool to the collector, and the bundle that comes back."""
