"""Why a command could not do its work."""


class Failed(Exception):
    """The work failed; the sentence says what to do."""
