"""What runs beside the decisions: backups, locks that nobody frees, pushes that are set aside."""
