"""The commands of the collector besides those in `cli`: one module for each group."""
