"""Operators' YAML files as frozen dataclasses, every mistake with its file:line:column."""
