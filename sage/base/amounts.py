"""Amounts as people read them. Knows nothing of what is counted."""


def megabytes(num_bytes: int) -> str:
    """Return an amount for people: `98.4 MB`."""
    return f"{num_bytes / 1e6:.1f} MB"
