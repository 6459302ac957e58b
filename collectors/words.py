"""What sources write for quality and purpose."""

from collections.abc import Mapping
from typing import get_args

from collectors.reading import Purpose, Quality

QUALITIES: dict[str, Quality] = {
    **dict.fromkeys(("good", "ok", "valid", "true"), "good"),
    **dict.fromkeys(("uncertain", "suspect", "questionable"), "uncertain"),
    **dict.fromkeys(("bad", "invalid", "error", "false"), "bad"),
}
PURPOSES: dict[str, Purpose] = {purpose: purpose for purpose in get_args(Purpose)}

# OPC (DA): the two highest bits of the quality byte; 11 is good, 01 uncertain, 00 bad.
OPC_GOOD, OPC_UNCERTAIN, OPC_END = 0xC0, 0x40, 0x100
# OPC UA: the two highest bits of the 32-bit status code; 01 is uncertain, 10 is bad.
UA_UNCERTAIN, UA_BAD, UA_END = 0x4000_0000, 0x8000_0000, 0x1_0000_0000


def quality_of(raw: object, own: Mapping[str, Quality]) -> Quality | None:
    """The quality that ``raw`` means, the source's ``own`` words first; None when nothing is known."""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if not isinstance(raw, int | str):
        return None
    word = str(raw).strip().casefold()
    for name, quality in own.items():
        if name.casefold() == word:
            return quality
    if word in QUALITIES:
        return QUALITIES[word]
    code = int(word) if word.isdecimal() and len(word) <= len(str(UA_END)) else -1
    if 0 <= code < OPC_END:
        # One status 10xxxxxx is not defined by OPC; it claims nothing good.
        good = code >= OPC_GOOD
        return (
            "good" if good else "uncertain" if OPC_UNCERTAIN <= code < 2 * OPC_UNCERTAIN else "bad"
        )
    if UA_UNCERTAIN <= code < UA_END:
        return "bad" if code >= UA_BAD else "uncertain"
    return None


def purpose_of(raw: object, own: Mapping[str, Purpose]) -> Purpose | None:
    """The purpose that ``raw`` means, the source's ``own`` words first; None when nothing is known."""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if not isinstance(raw, int | str):
        return None
    word = str(raw).strip().casefold()
    for name, purpose in own.items():
        if name.casefold() == word:
            return purpose
    return PURPOSES.get(word)
