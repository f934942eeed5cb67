"""Measurements of streams and serving, each with its result file."""
