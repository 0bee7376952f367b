"""Compute digests of contents, which become part of file names."""

import hashlib
import json

#: Number of hexadecimal digits of a digest in a file name.
DIGITS = 12


def digest(*parts: object) -> str:
    """Return the first `DIGITS` hexadecimal digits of the SHA-256 of values, written as JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
