"""What is in force at this collector: read from its folder, or followed from the store."""
