"""What people and Prometheus see: pages, API, /metrics. Reads through collector/read/views.py, writes through collector/process/actions.py."""
