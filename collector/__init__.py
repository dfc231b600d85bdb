"""The collector decides who must know, and when."""
