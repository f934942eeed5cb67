"""The user functions of W1. Imports nothing of SAGE: rivals call them too."""


def grow(x: int) -> int:
    return x * 3 + 1


def is_even(x: int) -> bool:
    return x % 2 == 0


def halve(x: int) -> int:
    return x // 2
