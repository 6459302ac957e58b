"""How each package that evaluates run rules is asked for the points that complete a Nelson rule."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# The rule, a series of z, and the points (from 1) that complete it.
VECTORS = [
    (1, [0, 3.2, -3.4, 3], [2, 3]),
    (2, [0.5] * 10 + [-0.5] + [-0.5] * 9, [9, 10, 19, 20]),
    (3, [1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 1], [6, 7, 13, 14]),
    (4, [1, 3, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8, 7, 9, 8], [14, 15]),
    (5, [0, 2.3, 0.4, 2.2, -2.4, -0.2, -2.5], [4, 7]),
    (6, [1.2, 1.3, 0.2, 1.4, 1.5, -1.2, -1.3, -0.1, -1.4, -1.5], [5, 10]),
    (7, [0.3] * 16 + [1.2], [15, 16]),
    (8, [1.2, -1.3, 1.1, -1.4, 1.5, -1.2, 1.3, -1.1, 0.2], [8]),
]


class Peer(NamedTuple):
    """A row of peers.toml."""

    name: str
    version: str
    licence: str
    call: str
    reproduces: bool
    note: str


def listed() -> list[Peer]:
    """Return the packages that peers.toml lists."""
    with (Path(__file__).parent / "peers.toml").open("rb") as file:
        return [Peer(**row) for row in tomllib.load(file)["peer"]]


def installed(peer: Peer) -> str | None:
    """Return the installed version of ``peer``."""
    try:
        return version(peer.name)
    except PackageNotFoundError:
        return None


def ask(name: str, z: Any) -> dict[int, list[int]]:
    """Return what a package flags, as points from 1 by rule."""
    return ADAPTERS[name](np.asarray(z, np.float64))


def reproduces(name: str) -> list[int]:
    """Return the rules whose vector a package reproduces."""
    return [rule for rule, z, expected in VECTORS if ask(name, z).get(rule, []) == expected]


def _pccpy(z: Any) -> dict[int, list[int]]:
    from pccpy.rules import apply_tests  # noqa: PLC0415

    found = apply_tests(z, np.zeros(1), np.ones(1), range(1, 9))
    return {rule: [int(i) + 1 for i in at] for rule, at in found.items()}


def _capstat(z: Any) -> dict[int, list[int]]:
    from capstat_core.control_charts import ControlChart, ControlLimits  # noqa: PLC0415
    from capstat_core.rules import nelson_rules  # noqa: PLC0415

    limits = ControlLimits(center=0.0, lower=-3.0, upper=3.0)
    chart = ControlChart(name="I", points=tuple(z.tolist()), limits=limits, violations=())
    found: dict[int, list[int]] = {}
    for violation in nelson_rules(chart):
        found.setdefault(violation.rule, []).append(violation.point + 1)
    return found


def _shewhart(z: Any) -> dict[int, list[int]]:
    from shewhart._rules import apply_rules, resolve_ruleset  # noqa: PLC0415

    found: dict[int, list[int]] = {}
    for key, _, points in apply_rules(z, resolve_ruleset("nelson")):
        found.setdefault(int(key[-1]), []).extend(int(i) + 1 for i in points)
    return found


def _mfgqc(z: Any) -> dict[int, list[int]]:
    from mfgqc.control_charts import _apply_rules  # noqa: PLC0415

    found: dict[int, list[int]] = {}
    for violation in _apply_rules(z, 0.0, 1.0, "nelson", "I"):
        found.setdefault(int(violation.rule[-1]), []).append(violation.point)
    return found


def _nelsoncheck(z: Any) -> dict[int, list[int]]:
    from NelsonCheck.NelsonCheck import NelsonCheck  # noqa: PLC0415

    check = NelsonCheck(z, CL=0.0, LCL=-3.0, UCL=3.0)
    return {v.rule.num: [int(i) + 1 for i in v.offenders.index] for v in check.violations}


ADAPTERS = {
    "pccpy": _pccpy,
    "capstat-core": _capstat,
    "shewhart": _shewhart,
    "mfgqc": _mfgqc,
    "NelsonCheck": _nelsoncheck,
}
