"""What the stores refuse, named by what the caller does next.

StoreError
├── StoreLost        keep the batch (spool), come back later
├── DuplicateKey     look the readings up again, build another batch
├── StoreRefused     a person has to look
├── AlreadyWriting   another process holds this store
├── MigrationFailed  the schema could not be brought up to date
├── SpoolFull        acknowledge nothing until the spool has drained
└── SpoolBroken      the spool file cannot be read
"""


class StoreError(Exception):
    """The store cannot do what was asked."""

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or (self.__doc__ or "").strip())


class StoreLost(StoreError):
    """The database is away or too slow; whether the last batch was committed is not known."""


class DuplicateKey(StoreError):
    """A row of the batch exists already; nothing of the batch was stored."""

    def __init__(self, sentence: str, table: str) -> None:
        super().__init__(sentence)
        self.table = table


class StoreRefused(StoreError):
    """The database answered and refused; nothing was stored, and trying again cannot help."""


class AlreadyWriting(StoreError):
    """Another process writes here."""


class MigrationFailed(StoreError):
    """The database's tables could not be brought up to date."""


class SpoolFull(StoreError):
    """The spool has no room for this batch; nothing of it was kept."""


class SpoolBroken(StoreError):
    """The spool file is damaged."""
