"""Decisions carried out: pushes applied, rungs decided when due, what persons do, our own rules."""
