"""Commands that run once and end: `probe`, `profile`, `discover`."""
