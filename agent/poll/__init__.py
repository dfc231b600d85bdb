"""When which device is read, and by which probe."""
