"""What a person answers to a message by a channel with a way back: the code, the words, and whether the answer comes too late."""
