"""What people and Prometheus see: pages, API, /metrics. Reads through collector/views.py, writes through collector/actions.py."""
