"""Whether this collector does its work, and who is told when it does not: outside the store, and outside this machine."""
