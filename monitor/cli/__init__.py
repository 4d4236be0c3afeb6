"""The `kedge` command. Each command is a module of its own, imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from monitor.errors import KedgeError, NotAllowedError, UsageError, did_you_mean

# heading → command → (module, attribute, one line of help); the help is here so that
# `kedge --help` imports nothing else. The first group is what a newcomer needs.
GROUPS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Begin here": {
        "demo": ("monitor.cli.demo", "demo", "Watch Kedge do its whole job on real data."),
        "check": ("monitor.cli.check", "check", "Compare two files: one report, no daemon."),
        "replay": ("monitor.cli.replay", "replay", "Run the pipeline over history as if live."),
        "run": ("monitor.cli.run", "run", "Run the daemon."),
        "report": ("monitor.cli.report", "report", "Show the current report of a domain."),
    },
    "Feed the daemon": {
        "reference": ("monitor.cli.reference", "reference", "Manage reference windows."),
        "send": ("monitor.cli.push", "send", "Push a file of events to a running daemon."),
        "label": ("monitor.cli.push", "label", "Push a file of labels to a running daemon."),
    },
    "Models and embeddings": {
        "baseline": ("monitor.cli.baseline", "baseline", "Keep record of from-scratch baselines."),
        "alignment": ("monitor.cli.alignment", "alignment", "What versions did to both."),
        "anchors": ("monitor.cli.alignment", "anchors", "Compare embeddings of versions."),
        "probe": ("monitor.cli.alignment", "probe", "See whether versions forget their source."),
    },
    "On call": {
        "get": ("monitor.cli.incidents", "get", "List incidents, models or retraining requests."),
        "describe": ("monitor.cli.incidents", "describe", "Show one incident with its history."),
        "ack": ("monitor.cli.incidents", "ack", "Acknowledge an incident."),
        "resolve": ("monitor.cli.incidents", "resolve", "Resolve an incident."),
        "silence": ("monitor.cli.silence", "silence", "Hide messages for a while."),
        "feedback": (
            "monitor.cli.incidents",
            "feedback",
            "Say whether an alarm was true or false.",
        ),
        "mapping": ("monitor.cli.mapping", "mapping", "Verify mappings of source and domain."),
        "retrain": ("monitor.cli.retrain", "retrain", "Work on retraining requests."),
    },
    "Administer": {
        "check-config": ("monitor.cli.admin", "check_config", "Validate a configuration."),
        "doctor": ("monitor.cli.admin", "doctor", "Look at database, clock, disk and channels."),
        "channels": ("monitor.cli.channels", "channels", "Test channels, replay dead letters."),
        "token": ("monitor.cli.token", "token", "Make, list and revoke tokens."),
        "db": ("monitor.cli.admin", "db", "Upgrade, back up or prune the database."),
    },
}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class LazyGroup(click.Group):
    """Lists commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        del ctx
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"no command '{args[0]}'.{hint} `kedge --help` lists them.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        widest = max(map(len, COMMANDS))
        for heading, group in GROUPS.items():
            with formatter.section(heading):
                lines = [(name.ljust(widest), line) for name, (_, _, line) in group.items()]
                formatter.write_dl(lines)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kedge", prog_name="kedge")
def cli() -> None:
    """Domain-shift monitoring for transferred models.

    \b
    Two files, no daemon:  kedge check --reference a.parquet --current b.parquet
    Everything, seen once: kedge demo
    """  # noqa: D301  # click reads the backspace as "keep these lines"


def main() -> None:
    """Run a command; a mendable error becomes one line and an exit code.

    0 fine, 1 failure, 2 usage, 4 not allowed; with --exit-code also 3 drift or harm found
    and 5 too little data.
    """
    # Fits here are small: OpenMP threads that wait for each other cost more than they bring.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Arrow's own allocator hands memory back after every column and faults it in again: reading a
    # wide file spent four fifths of its time in the kernel.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        code = cli.main(prog_name="kedge", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(1)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"kedge: {_one_line(error)}", err=True)
        sys.exit(error.exit_code)
    except UsageError as error:
        click.echo(f"kedge: {error}", err=True)
        sys.exit(2)
    except NotAllowedError as error:
        click.echo(f"kedge: {error}", err=True)
        sys.exit(4)
    except KedgeError as error:
        click.echo(f"kedge: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        words = _trouble_with_the_database(error)
        if words is None:
            raise
        click.echo(f"kedge: {words}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _one_line(error: click.ClickException) -> str:
    """What was wrong with the call, and where to read how it is done."""
    words = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or "--help`" in words:
        return words
    return f"{words.rstrip('.')}; see `{context.command_path} --help`"


def _trouble_with_the_database(error: Exception) -> str | None:
    """One line for a database that cannot be opened or used; None for any other error."""
    if "sqlalchemy.exc" not in sys.modules:  # else nobody has spoken to a database yet
        return None
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from storage.engine import DatabaseUrlError
    from storage.migrations import NewerDatabaseError

    if isinstance(error, DatabaseUrlError):
        return f"service.database: {error}"
    if isinstance(error, NewerDatabaseError):
        return str(error)
    if not isinstance(error, SQLAlchemyError):
        return None
    cause = error.orig if isinstance(error, DBAPIError) else error
    words = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    return f"the database cannot be used: {words[:300]}; `kedge doctor` looks closer"
