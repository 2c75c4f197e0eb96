"""Small damages to bytes, the kind that finds what a parser took for granted."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = (
    *(
        b"nan",
        b"inf",
        b"-1",
        b"1e999",
        b"9" * 40,
        b"9" * 5_000,
        "\u0663".encode(),
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"..\\..\\",
        b"\n",
        b"=",
    ),
    *(b"[", b"'", b'"', b"#", b"_", b"data_", b"loop_", b"<!ENTITY a 'b'>", b"&a;"),
)


def mutated(seeds: Sequence[bytes], chance: random.Random, *, longest: int = 200_000) -> bytes:
    """Return one of the seeds with a few damages."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        _damage(data, seeds, chance)
    return bytes(data[:longest])


def _damage(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(7):
        case 0:
            if data:
                data[min(at, len(data) - 1)] = chance.randrange(256)
        case 1:
            del data[at : at + chance.choice((1, 2, 7, 100))]
        case 2:
            data[at:at] = chance.choice(WORDS)
        case 3:
            form = chance.choice(("<H", "<I", "<Q", ">H", ">I", ">Q", "<f", "<d"))
            number = chance.choice(NUMBERS)
            packed = struct.pack(form, number % 2 ** (8 * struct.calcsize(form)) if form[1] in "HIQ" else float(number))
            data[at : at + len(packed)] = packed
        case 4:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            data[at:] = other[start:]
        case 5:
            data[at:at] = data[at : at + chance.choice((1, 10, 200))]
        case _:
            del data[at:]
