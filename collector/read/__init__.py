"""What pages, API and metrics ask of the store. Read only."""
