"""Compute digests of contents, which become part of file names."""

import hashlib
import json

#: Hexadecimal digits of a digest in a file name.
DIGITS = 12


def digest(*parts: object) -> str:
    """The first `DIGITS` hexadecimal digits of the SHA-256 of values, serialised as JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
