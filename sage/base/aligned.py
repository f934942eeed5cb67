"""Rows as text in columns. Knows nothing of what they say."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[object]], *, num_left: int) -> str:
    """Return `rows` in columns as wide as they need, the first `num_left` to the left and the others to the right.

    >>> print(aligned([("step", "records"), ("map", 5)], num_left=1))
    step  records
    map         5
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in texts) for at in range(len(texts[0]))]
    sides = ["<"] * num_left + [">"] * (len(widths) - num_left)
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return "\n".join(form.format(*row).rstrip() for row in texts)
