"""How a message leaves: one file a channel, each returning a receipt instead of raising."""
