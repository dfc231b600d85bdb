"""The rules that judge readings: entries as an operator writes them, compiled rules, and their evaluation. Everything is pure."""
