"""The command ``andon``: every command with its options, exit codes and one sentence on failure."""

import asyncio
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from app.commands.failure import Failed
from app.plantfile import PlantInvalid
from app.settings import SettingsInvalid, load_settings

app = typer.Typer(
    name="andon",
    help="Real-time quality monitoring for the shop floor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
PlantFile = Annotated[Path, typer.Argument(metavar="PLANT.TOML", help="The plant file.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one."),
    ] = None,
    plant: Annotated[
        Path | None, typer.Option(metavar="PLANT.TOML", help="Plant file, applied first.")
    ] = None,
    role: Annotated[
        str, typer.Option(help="all: one process collects, evaluates and serves.")
    ] = "all",
) -> None:
    """Run the service until it is told to stop."""
    if role != "all":
        raise typer.BadParameter("this Andon runs everything in one process: leave it at all")
    settings = load_settings(host=host, port=port, plant=plant)
    from app.commands.serve import run_serve  # noqa: PLC0415 - compiled loops take their time

    run_serve(settings)


@app.command()
def migrate() -> None:
    """Bring the database's tables up to date; harmless when they are."""
    from app.commands.database import run_migrate  # noqa: PLC0415

    _run(run_migrate(load_settings(), Console()))


@app.command("apply")
def apply_(
    plant: PlantFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell the plan.")] = False,
    who: Annotated[str, typer.Option(help="Who applies it, for the record.")] = "andon apply",
    url: Annotated[
        str | None, typer.Option(help="Where the running service answers, if not as set.")
    ] = None,
) -> None:
    """Make the configuration what the plant file says; tell plan and drift first."""
    from app.commands.apply import run_apply  # noqa: PLC0415

    _run(run_apply(load_settings(), plant, dry_run=dry_run, who=who, url=url, out=Console()))


@app.command()
def check(
    plant: Annotated[
        Path | None, typer.Argument(metavar="PLANT.TOML", help="The plant file, if any.")
    ] = None,
) -> None:
    """Look at database, disks, clocks and sources, and say what to do."""
    from app.commands.check import run_check  # noqa: PLC0415

    _run(run_check(load_settings(plant=plant), Console()))


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the screen.")] = 8000,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it keeps its data.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number, another plant.")] = 1,
) -> None:
    """Run a simulated plant with real servers on this machine."""
    from app.demo.demo import run_demo  # noqa: PLC0415

    run_demo(port=port, data=data, seed=seed)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"andon {version('andon')}")
        raise typer.Exit


@app.callback()
def common(
    _shown: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Real-time quality monitoring for the shop floor."""


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def main() -> None:
    """Run a command; 0 fine, 1 the work failed, 2 it was called wrongly."""
    try:
        app()
    except (Failed, SettingsInvalid, PlantInvalid) as error:
        _say(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        _say(f"{error.filename or 'the system'}: {error.strerror or error}")


def _say(sentence: str) -> None:
    for line in sentence.splitlines():
        sys.stderr.write(f"andon: {line}\n")
    sys.exit(1)
