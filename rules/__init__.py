"""The rules that judge readings: entries as written in YAML, compiled rules, and their evaluation. Everything is pure."""
