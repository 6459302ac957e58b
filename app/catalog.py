"""What is configured, in memory: characteristics, their streams and versions, sources and tag sets."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from app.characteristic import LARGEST, CharacteristicConfig
from app.store.batch import Context, Stream, Version

CONTEXTS_REMEMBERED = 50_000
STREAMS_PER_CHARACTERISTIC = 10_000


class Characteristic(msgspec.Struct):
    """One characteristic with what the path of a reading needs at hand."""

    id: int
    name: str
    config: CharacteristicConfig
    stream_tags: tuple[str, ...]
    cut_tags: tuple[str, ...]
    key_tags: tuple[str, ...]
    decimals: int  # -1: not rounded
    plausible: tuple[float, float]
    attribute: bool  # counts out of a size
    sole_stream: int | None = None  # its stream, where it has no stream tags
    retired: bool = False


class Source(msgspec.Struct):
    """A source as the store knows it."""

    id: int
    name: str
    position: dict[str, Any] | None = None


class Catalog:
    """Names to numbers and back; what is new here is written with the next batch."""

    def __init__(self) -> None:
        self.characteristics: dict[int, Characteristic] = {}
        self.streams: dict[int, Stream] = {}
        self.versions: dict[int, Version] = {}
        self.sources: dict[str, Source] = {}
        self.plant: dict[str, Any] = {}
        self.revision = 0  # counts changes of characteristics
        self._names: dict[str, Characteristic] = {}
        self._stream_ids: dict[int, dict[str | tuple[str, ...], int]] = {}
        self._stream_names: dict[str, int] = {}
        self._tags: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        self._streams_of: dict[int, list[int]] = {}
        self._versions_of: dict[int, list[int]] = {}
        self._versions_for: dict[tuple[int, int | None], list[int]] = {}  # one stream, or all
        self._contexts: OrderedDict[tuple[tuple[str, str], ...], int] = OrderedDict()
        self._next_context = 1
        self._next_stream = 1
        self._next_version = 1
        self._next_characteristic = 1
        self.unsaved_streams: dict[int, Stream] = {}
        self.unsaved_contexts: dict[int, Context] = {}

    # characteristics

    def put_characteristic(
        self, number: int, config: CharacteristicConfig, *, retired: bool = False
    ) -> Characteristic:
        """Add a characteristic, or replace what is known of it."""
        plausible = config.plausible
        known = self.characteristics.get(number)
        entry = Characteristic(
            id=number,
            name=config.id,
            config=config,
            stream_tags=tuple(config.stream),
            cut_tags=tuple(config.cut),
            key_tags=tuple(config.subgroup.keys) if config.subgroup else (),
            decimals=-1 if config.decimals is None else config.decimals,
            plausible=(
                -LARGEST if plausible is None or plausible.lower is None else plausible.lower,
                LARGEST if plausible is None or plausible.upper is None else plausible.upper,
            ),
            attribute=config.chart == "p",
            sole_stream=known.sole_stream if known else None,
            retired=retired,
        )
        changed = known is not None and known.stream_tags != entry.stream_tags
        if known:
            for name in [name for name, other in self._names.items() if other.id == number]:
                del self._names[name]
        self.characteristics[number] = entry
        if changed:
            self._find_streams_again(entry)
        self.revision += 1
        self._next_characteristic = max(self._next_characteristic, number + 1)
        if not retired:
            for name in (config.id, *config.aliases):
                self._names[name] = entry
        return entry

    def find(self, name: str) -> Characteristic | None:
        """The characteristic that a source calls ``name``, by its id or an alias."""
        return self._names.get(name)

    def next_characteristic(self) -> int:
        """The number of the next new characteristic."""
        return self._next_characteristic

    # streams

    def put_stream(self, stream: Stream) -> None:
        """Add a stream."""
        entry = self.characteristics[stream.characteristic]
        # Many characteristics are measured in the same cavities: one dict for all of them.
        stream.tags = self._tags.setdefault(tuple(stream.tags.items()), stream.tags)
        self.streams[stream.id] = stream
        self._stream_names[stream.name] = stream.id
        self._next_stream = max(self._next_stream, stream.id + 1)
        siblings = self._streams_of.setdefault(stream.characteristic, [])
        if stream.id not in siblings:
            siblings.append(stream.id)
        self._take_readings(entry, stream)

    def is_history(self, stream: Stream) -> bool:
        """Whether a stream gets no more readings: it was made before a version named other tags."""
        entry = self.characteristics[stream.characteristic]
        return entry.retired or stream.tags.keys() != set(entry.stream_tags)

    def _take_readings(self, entry: Characteristic, stream: Stream) -> None:
        """Let a stream have the readings with its tags, if they still tell streams apart."""
        if stream.tags.keys() != set(entry.stream_tags):
            return
        self._stream_ids.setdefault(entry.id, {})[_values(entry, stream.tags)] = stream.id
        if not entry.stream_tags:
            entry.sole_stream = stream.id

    def _find_streams_again(self, entry: Characteristic) -> None:
        entry.sole_stream = None
        self._stream_ids.pop(entry.id, None)
        for number in self.streams_of(entry.id):
            self._take_readings(entry, self.streams[number])

    def stream_for(self, entry: Characteristic, tags: Mapping[str, str]) -> int | None:
        """The stream of these tags, made when it is new; None when there would be too many."""
        known = self._stream_ids.get(entry.id, {}).get(_values(entry, tags))
        if known is not None:
            return known
        values = [tags.get(tag, "") for tag in entry.stream_tags]
        if len(self._streams_of.get(entry.id, ())) >= STREAMS_PER_CHARACTERISTIC:
            return None
        stream = Stream(
            id=self._next_stream,
            characteristic=entry.id,
            name=self._free_name(":".join((entry.name, *map(_escaped, values)))),
            tags=dict(zip(entry.stream_tags, values, strict=True)),
        )
        self.put_stream(stream)
        self.unsaved_streams[stream.id] = stream
        return stream.id

    def _free_name(self, name: str) -> str:
        """A name that no stream has: other tags than now may have had the same values."""
        found, number = name, 2
        while found in self._stream_names:
            found, number = f"{name}\\{number}", number + 1
        return found

    def stream_named(self, name: str) -> int | None:
        """The stream with this name towards the outside."""
        return self._stream_names.get(name)

    @property
    def newest_stream(self) -> int:
        """The highest number of a stream; 0 when there is none."""
        return self._next_stream - 1

    def streams_of(self, characteristic: int) -> list[int]:
        """The streams of a characteristic, oldest first."""
        return self._streams_of.get(characteristic, [])

    # versions

    def put_positions(self, positions: Mapping[int, dict[str, Any]]) -> None:
        """Note how far sources are, by their numbers."""
        for source in self.sources.values():
            source.position = positions.get(source.id, source.position)

    def put_version(self, version: Version) -> None:
        """Add a version, or replace what is known of it."""
        known = version.id in self.versions
        self.versions[version.id] = version
        self._next_version = max(self._next_version, version.id + 1)
        if known:
            return
        self._versions_of.setdefault(version.characteristic, []).append(version.id)
        self._versions_for.setdefault((version.characteristic, version.stream), []).append(
            version.id
        )

    def versions_of(self, characteristic: int) -> list[Version]:
        """All versions of a characteristic, oldest first, proposals and refusals too."""
        return [self.versions[number] for number in self._versions_of.get(characteristic, ())]

    def history(self, stream: int) -> list[Version]:
        """The versions that are or were in force for a stream, in the order of measured time."""
        characteristic = self.streams[stream].characteristic
        mine = [
            self.versions[number]
            for only in (None, stream)
            for number in self._versions_for.get((characteristic, only), ())
            if self.versions[number].state not in ("proposed", "rejected")
        ]
        return sorted(mine, key=lambda version: (since_of(version), version.number))

    def in_force(self, stream: int, time: int) -> tuple[Version, int | None]:
        """The version that judges a stream at ``time``, and when the next one begins."""
        history = self.history(stream)
        current = history[0]
        for version in history:
            if since_of(version) > time:
                return current, since_of(version)
            current = version
        return current, None

    def next_version(self) -> int:
        """The id of the next new version."""
        return self._next_version

    # sources

    def put_source(self, source: Source) -> None:
        """Add a source."""
        self.sources[source.name] = source

    # tag sets

    def known_context(self, tags: Mapping[str, str]) -> int | None:
        """The number of a tag set that was stored before."""
        return self._contexts.get(tuple(sorted(tags.items())))

    def context_for(self, tags: Mapping[str, str] | None) -> int:
        """The number of a tag set, made when it is new; 0 for none."""
        if not tags:
            return 0
        key = tuple(sorted(tags.items()))
        known = self._contexts.get(key)
        if known is not None:
            return known
        number = self._next_context
        self._next_context += 1
        self._contexts[key] = number
        self.unsaved_contexts[number] = Context(number, dict(key))
        if len(self._contexts) > CONTEXTS_REMEMBERED:
            # A forgotten tag set that comes back gets a second number: rows stay right.
            self._contexts.popitem(last=False)
        return number

    def restore_contexts(self, contexts: Iterable[Context], next_context: int) -> None:
        """Take up the newest tag sets and the numbering."""
        for context in contexts:
            self._contexts[tuple(sorted(context.tags.items()))] = context.id
        self._next_context = max(self._next_context, next_context)

    def remembered_contexts(self) -> tuple[list[Context], int]:
        """The tag sets in memory, and the number of the next new one."""
        known = [Context(number, dict(tags)) for tags, number in self._contexts.items()]
        return known, self._next_context

    def saved(self) -> None:
        """Everything new is durable now."""
        self.unsaved_streams.clear()
        self.unsaved_contexts.clear()

    def unsave(self) -> None:
        """Forget streams and tag sets that no batch has made durable; their numbers are free."""
        for stream in self.unsaved_streams.values():
            entry = self.characteristics[stream.characteristic]
            del self.streams[stream.id]
            del self._stream_ids[entry.id][_values(entry, stream.tags)]
            self._stream_names.pop(stream.name, None)
            self._streams_of[entry.id].remove(stream.id)
            if entry.sole_stream == stream.id:
                entry.sole_stream = None
        for context in self.unsaved_contexts.values():
            self._contexts.pop(tuple(sorted(context.tags.items())), None)
        if self.unsaved_streams:
            self._next_stream = min(self.unsaved_streams)
            self.revision += 1
        if self.unsaved_contexts:
            self._next_context = min(self.unsaved_contexts)
        self.saved()


def _values(entry: Characteristic, tags: Mapping[str, str]) -> str | tuple[str, ...]:
    """What tells this characteristic's streams apart; of one tag the bare value, found fastest."""
    names = entry.stream_tags
    if len(names) == 1:
        return tags.get(names[0], "")
    return tuple(tags.get(name, "") for name in names)


def _escaped(value: str) -> str:
    """A tag's value within a stream's name: ``a:b`` and ``c`` is not ``a`` and ``b:c``."""
    return value.replace("\\", "\\\\").replace(":", "\\:")


def since_of(version: Version) -> int:
    """The measured time from which a version holds."""
    return -(2**62) if version.valid_from is None else version.valid_from
