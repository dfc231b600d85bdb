"""The configurations in force: all that were, who put them there, and which of them each collector's folder has."""
