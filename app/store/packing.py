"""Batches as bytes, for the spool: readable also by an Andon whose rows have more columns."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.store.batch import Batch
from app.store.rows import NO_SUBGROUP, POINT, READING


def pack(batch: Batch) -> bytes:
    """The whole batch as MessagePack."""
    return _encoder.encode(batch)


def unpack(packed: bytes) -> Batch:
    """The batch that ``pack`` was given."""
    return _decoder.decode(packed)


def _pack_rows(value: Any) -> dict[str, Any]:
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"a batch holds no {type(value)}")
    names = value.dtype.names or ()
    return {"columns": [(n, value.dtype[n].str) for n in names], "rows": value.tobytes()}


def _unpack_rows(_kind: Any, packed: Any) -> NDArray[np.void]:
    there = np.dtype([(name, form) for name, form in packed["columns"]])
    came = np.frombuffer(packed["rows"], there)
    wanted = POINT if "statistic" in (there.names or ()) else READING
    if there == wanted:
        return came.copy()  # a buffer's rows are read-only
    rows = np.zeros(len(came), wanted)
    rows["subgroup"] = NO_SUBGROUP
    for name in set(wanted.names or ()) & set(there.names or ()):
        rows[name] = came[name]
    return rows


_encoder = msgspec.msgpack.Encoder(enc_hook=_pack_rows)
_decoder = msgspec.msgpack.Decoder(Batch, dec_hook=_unpack_rows)
