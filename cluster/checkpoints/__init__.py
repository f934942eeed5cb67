"""Checkpoints on the disk: what tasks hold, written off their threads, found again, checked byte by byte."""
