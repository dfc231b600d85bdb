"""Pages, API and /metrics. It reads through collector/read and writes through collector/process/actions.py."""
