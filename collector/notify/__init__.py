"""Whom a decision reaches, in which words, and how it is delivered."""
