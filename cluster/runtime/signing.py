"""Ed25519 signatures of submitters. Knows nothing of what is signed; loads the library at the first use only."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A submitter's key: the public half in hex, the secret half as it is (32 bytes), never shown."""

    public_key: str
    secret: bytes = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """Return the signature: 64 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(data)


def new_signing_key() -> SigningKey:
    """Draw a key from the system's randomness."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return signing_key_from_secret(Ed25519PrivateKey.generate().private_bytes_raw())


def signing_key_from_secret(secret: bytes) -> SigningKey:
    """Return the whole key; raises ValueError unless `secret` has 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return SigningKey(Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw().hex(), secret)


def is_signed(public_key: str, signature: bytes, data: bytes) -> bool:
    """Say whether the owner of `public_key` (hex) signed exactly `data`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
