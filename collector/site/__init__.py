"""The operator's files: settings, inventory, contacts, ladders, rules; loaded whole as one snapshot."""
