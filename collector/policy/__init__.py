"""What the collector decides, without any input or output: incidents, ladder, roster."""
