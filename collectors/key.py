"""Keys and subgroup names as 64 bits."""

import hashlib

from collectors.reading import KEY_MAX, KEY_MIN


def numbered(name: int | str) -> tuple[int, str | None]:
    """The 64 bits that stand for ``name``, and the original where they are not the name itself.

    An integer stays what it is. Everything else is hashed, the same on every machine and for good:
    the identity of stored readings rests on it.
    """
    if isinstance(name, int):
        if KEY_MIN < name <= KEY_MAX:
            return name, None
        name = str(name)
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # The least of all integers stands for NULL in the store's rows.
    return max(int.from_bytes(digest, "big", signed=True), KEY_MIN + 1), name
