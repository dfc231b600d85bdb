"""The schedule of the polls, and the probe of each kind."""
