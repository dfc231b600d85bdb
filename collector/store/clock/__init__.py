"""What the store keeps of the collectors' common time, and the pending times that move when it is set."""
