"""The nouns that all rooms share: quantity, device, reading, verdict, batch, errors. Standard library only."""
