"""BLAKE2b (RFC 7693) in compiled code, of texts in an array: eight bytes of the digest, no key.

`hashlib` has the same in C, one call from Python a text; here it is one of the steps that a new series takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.words import load8, load64

if TYPE_CHECKING:
    import numpy.typing as npt

BLOCK: Final = 128
"""Bytes that are taken at once; a text is hashed from an array that has room for whole blocks of it."""
_ROUNDS = 12
_IV0, _IV1, _IV2, _IV3 = (
    np.uint64(word) for word in (0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1)
)
_IV4, _IV5, _IV6, _IV7 = (
    np.uint64(word) for word in (0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179)
)
_PARAMETERS = np.uint64(0x01010008)
"""Digest of 8 bytes, no key, one leaf."""
_ORDERS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_PLACES = np.array([[8 * word for word in _ORDERS[number % 10]] for number in range(_ROUNDS)], dtype=np.uint8).ravel()
"""In each round, where in the block its words are, in the order in which they are mixed in."""

_Four = tuple[np.uint64, np.uint64, np.uint64, np.uint64]


@kernel
def _turned(word: np.uint64, by: int) -> np.uint64:
    return word >> np.uint64(by) | word << np.uint64(64 - by)


@kernel
def _mixed(text: npt.NDArray[np.uint8], block: int, pair: int, words: _Four) -> _Four:
    """G of the RFC: two words of the block into four of the state; `pair` is their place among `_PLACES`."""
    a, b, c, d = words
    a = a + b + np.uint64(load64(text, block + load8(_PLACES, pair)))
    d = _turned(d ^ a, 32)
    c += d
    b = _turned(b ^ c, 24)
    a = a + b + np.uint64(load64(text, block + load8(_PLACES, pair + 1)))
    d = _turned(d ^ a, 16)
    c += d
    b = _turned(b ^ c, 63)
    return a, b, c, d


@kernel
def blake2b(text: npt.NDArray[np.uint8], at: int, size: int) -> np.uint64:
    """Digest of the bytes from `at` on, as a number, its first byte the lowest.

    What is behind them, up to the end of their last block, is overwritten with zeros.
    """
    last = max(0, (size - 1) // BLOCK)
    for place in range(at + size, at + (last + 1) * BLOCK):
        text[place] = 0
    h0, h1, h2, h3 = _IV0 ^ _PARAMETERS, _IV1, _IV2, _IV3
    h4, h5, h6, h7 = _IV4, _IV5, _IV6, _IV7
    for number in range(last + 1):
        block = at + number * BLOCK
        hashed = np.uint64(size if number == last else (number + 1) * BLOCK)
        v0, v1, v2, v3, v4, v5, v6, v7 = h0, h1, h2, h3, h4, h5, h6, h7
        v8, v9, v10, v11, v13, v15 = _IV0, _IV1, _IV2, _IV3, _IV5, _IV7
        v12, v14 = _IV4 ^ hashed, ~_IV6 if number == last else _IV6
        for pair in range(0, _ROUNDS * 16, 16):
            v0, v4, v8, v12 = _mixed(text, block, pair, (v0, v4, v8, v12))
            v1, v5, v9, v13 = _mixed(text, block, pair + 2, (v1, v5, v9, v13))
            v2, v6, v10, v14 = _mixed(text, block, pair + 4, (v2, v6, v10, v14))
            v3, v7, v11, v15 = _mixed(text, block, pair + 6, (v3, v7, v11, v15))
            v0, v5, v10, v15 = _mixed(text, block, pair + 8, (v0, v5, v10, v15))
            v1, v6, v11, v12 = _mixed(text, block, pair + 10, (v1, v6, v11, v12))
            v2, v7, v8, v13 = _mixed(text, block, pair + 12, (v2, v7, v8, v13))
            v3, v4, v9, v14 = _mixed(text, block, pair + 14, (v3, v4, v9, v14))
        h0, h1, h2, h3 = h0 ^ v0 ^ v8, h1 ^ v1 ^ v9, h2 ^ v2 ^ v10, h3 ^ v3 ^ v11
        h4, h5, h6, h7 = h4 ^ v4 ^ v12, h5 ^ v5 ^ v13, h6 ^ v6 ^ v14, h7 ^ v7 ^ v15
    return h0
