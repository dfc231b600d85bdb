"""The nouns everybody speaks: quantity, device, reading, verdict, batch, errors. Standard library only."""
