"""What a source sent, short enough for a sentence."""

LONGEST = 60
WIDEST_INTEGER = 128  # bits


def shown(raw: object) -> str:
    """``raw`` as JSON-like text of bounded length; never fails and never takes long."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, list | tuple):
        return "an array"
    if isinstance(raw, dict):
        return "an object"
    if isinstance(raw, int) and raw.bit_length() > WIDEST_INTEGER:
        return "a huge number"
    text = f'"{raw[: LONGEST + 1]}"' if isinstance(raw, str) else repr(raw)
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
