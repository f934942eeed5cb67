"""What becomes of bytes on a disk that does not keep them. Knows no file."""

from random import Random

LEN_SECTOR = 512


def damaged(content: bytes, rng: Random) -> tuple[bytes, str]:
    """Return `content`, of a byte at least, with a bit flipped, without its end or with a sector of zeros.

    And which of them it was, for people.
    """
    match rng.choice(("bit", "end", "sector")):
        case "end":
            left = rng.randrange(len(content))
            return content[:left], f"ends after {left} of {len(content)} bytes"
        case "sector":
            start = rng.randrange(len(content)) // LEN_SECTOR * LEN_SECTOR
            zeros = bytes(len(content[start : start + LEN_SECTOR]))
            return content[:start] + zeros + content[start + LEN_SECTOR :], f"has zeros from byte {start} on"
        case _:
            bit = rng.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            return bytes(flipped), f"has bit {bit} of {8 * len(content)} flipped"
