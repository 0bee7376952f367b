"""Compute the digests that become parts of file names."""

import hashlib
import json

#: Number of hexadecimal digits of a digest in a file name.
DIGITS = 12


def digest(*parts: object) -> str:
    """Write values as JSON, and return the first `DIGITS` hexadecimal digits of the SHA-256."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
