"""The operator's files (settings, inventory, contacts, ladders, rules), loaded together as one snapshot."""
