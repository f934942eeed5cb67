"""Verbs of the `sage` command that act on flows, models and this machine."""
