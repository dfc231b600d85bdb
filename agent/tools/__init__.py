"""Commands that look once and end: `probe`, `profile`, `discover`."""
