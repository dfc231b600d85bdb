"""What makes a store this store, and not an older copy or another one: its identity, its generation, and its file."""
