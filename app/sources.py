"""The plant's sources: each with its collector and the supervisor that keeps it running."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from app.admission import SourceTraits
from app.catalog import Catalog
from app.metrics import SourceState
from collectors.kinds import KINDS
from collectors.reading import Emit
from collectors.source import SourceConfig
from collectors.supervisor import Supervisor

log = structlog.get_logger(__name__)


class Sources:
    """Starts and stops collectors as the configuration says."""

    def __init__(self, catalog: Catalog, emit: Emit, clock: Callable[[], int]) -> None:
        self._catalog = catalog
        self._emit = emit
        self._clock = clock
        self._configs: dict[str, SourceConfig] = {}
        self._supervisors: dict[str, Supervisor] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def configure(self, configs: Sequence[SourceConfig]) -> None:
        """Run exactly these sources; one whose configuration is the same is left alone."""
        wanted = {config.id: config for config in configs}
        for name in [n for n, config in self._configs.items() if wanted.get(n) != config]:
            await self._stop(name)
        for name, config in wanted.items():
            if name not in self._tasks:
                self._start(name, config)

    def _start(self, name: str, config: SourceConfig) -> None:
        kind = KINDS[config.kind]
        known = self._catalog.sources[name]
        collector = kind.make(config, known.position, self._clock, self._target)
        supervisor = Supervisor(self._clock)
        self._configs[name] = config
        self._supervisors[name] = supervisor
        self._tasks[name] = asyncio.create_task(
            supervisor.run(collector, self._emit), name=f"collect {name}"
        )

    def _target(self, name: str) -> float | None:
        entry = self._catalog.find(name)
        spec = entry.config.spec if entry else None
        return None if spec is None else spec.target

    async def _stop(self, name: str) -> None:
        task = self._tasks.pop(name)
        del self._configs[name], self._supervisors[name]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """Stop all collectors; what they handed over is still served."""
        await asyncio.gather(*(self._stop(name) for name in list(self._tasks)))

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """What runs; none of it ends by itself."""
        return list(self._tasks.values())

    def traits(self) -> dict[str, SourceTraits]:
        """What admission needs to know of each source."""
        traits = {}
        for name, known in self._catalog.sources.items():
            config, supervisor = self._configs.get(name), self._supervisors.get(name)
            skew = supervisor.status.counters.skew_us if supervisor else None
            if config is not None and config.clock != "source":
                skew = None  # its times are corrected already, or ours
            age = {} if config is None else {"max_age": config.max_age}
            traits[name] = SourceTraits(known.id, skew=int(skew or 0), **age)
        return traits

    def states(self) -> list[SourceState]:
        """Every source as people see it."""
        return [
            SourceState(self._configs[name].kind, supervisor.status)
            for name, supervisor in self._supervisors.items()
        ]

    async def advice(self) -> list[str]:
        """What ``andon check`` says about each source."""
        said: list[str] = []
        for name, config in self._configs.items():
            kind: Any = KINDS[config.kind]
            said += [f"{name}: {sentence}" for sentence in await kind.advise(config)]
        return said
