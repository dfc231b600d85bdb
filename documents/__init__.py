"""Operators' YAML files as frozen dataclasses, every mistake with its file:line:column. No vocabulary of a room is here."""
