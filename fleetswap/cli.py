"""Command line: the group of commands, and how every error ends as one line and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

import click

from . import __version__
from .errors import InputError

COMMANDS = {
    "run": ("fleetswap.commands.run:run", "Simulate a fleet."),
    "show": ("fleetswap.commands.show:show", "Show what a scenario says."),
    "compare": ("fleetswap.commands.compare:compare", "Compare two policies on the same devices."),
    "sweep": ("fleetswap.commands.sweep:sweep", "Simulate a grid of policies."),
    "plan": ("fleetswap.commands.plan:plan", "Tell what a run would take."),
    "conform": ("fleetswap.commands.conform:conform", "Compare scripts with what a real kernel did."),
    "replay": ("fleetswap.commands.replay:replay", "Run one script and print its dumps."),
    "validate": ("fleetswap.commands.validate:validate", "Show published tables beside the simulated ones."),
    "bench": ("fleetswap.commands.bench:bench", "Measure this machine's event rates."),
    "content": ("fleetswap.commands.content:content", "Show what the content model yields."),
    "calibrate": ("fleetswap.commands.calibrate:calibrate", "Measure your own memory and this machine's codecs."),
    "census": ("fleetswap.commands.census:census", "Take the contiguity census of your own page tables."),
    "digest": ("fleetswap.commands.digest:digest", "Print one hash of a run's content."),
    "doctor": ("fleetswap.commands.doctor:doctor", "Show what would be used here, and why."),
}
"""Every command: where it is, and what it does. A command is imported when it is called, the core with it."""

FAILED = 2
INTERRUPTED = 130
"""128 + SIGINT."""
BROKEN_PIPE = 141
"""128 + SIGPIPE."""
MAX_MESSAGE = 4000


class LazyGroup(click.Group):
    """The commands of `COMMANDS`, each imported on its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Names in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            ctx.fail(f"no command {cmd_name!r}; known are {', '.join(COMMANDS)}")
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, invoke_without_command=True)
@click.version_option(__version__, prog_name="fleetswap")
@click.pass_context
def cli(context: click.Context) -> None:
    """Find out what a swap policy would do to a fleet.

    Simulates Linux swap on zram with large folios, bit by bit as the kernel does it.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words of the command line; ``sys.argv`` without them.

    Returns
    -------
    int
        Exit code: 0 done, 1 ran but a check failed, 2 bad input, 130 interrupted, 141 nobody read the output.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _execute(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except InputError as error:
        return _complain(str(error))
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "fleetswap"
        return _complain(f"{_refusal(error)} (see `{path} --help`)")
    except click.ClickException as error:
        return _complain(error.format_message())
    except MemoryError as error:
        return _complain(f"not enough memory: {error}" if str(error) else "not enough memory")
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:
        _drop_output()
        return _complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
    except (KeyboardInterrupt, click.Abort) as error:
        return _complain("; ".join(["interrupted", *map(str, error.args)]), INTERRUPTED)
    return code


def _refusal(error: click.UsageError) -> str:
    """What is told of a command line that cannot be; of numbers not click's sentence."""
    parameter = error.param if isinstance(error, click.BadParameter) else None
    number = getattr(parameter, "type", None)
    if parameter is None or not isinstance(number, click.types.IntParamType):
        return error.format_message().rstrip(".")
    least, most = getattr(number, "min", None), getattr(number, "max", None)
    limits = "" if least is None else f" from {least} on" if most is None else f" {least} to {most}"
    value = error.message.partition(" is not ")[0].strip("'")
    return f"{parameter.opts[0]}: {value} is not possible; allowed are whole numbers{limits}"


def _execute(words: list[str]) -> int:
    """Run a command and return its exit code; click's own `main` would print its errors over several lines."""
    try:
        with cli.make_context("fleetswap", words) as context:
            if words and sys.stdout is None:
                raise InputError("standard output is closed")
            cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return 0


def _complain(message: str, code: int = FAILED) -> int:
    """Print a message as exactly one line."""
    if len(message) > MAX_MESSAGE:
        message = f"{message[: MAX_MESSAGE // 2]} ... {message[-MAX_MESSAGE // 2 :]}"
    # Names of files and words of scripts may hold anything, line ends and terminal codes too.
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    click.echo(f"fleetswap: {line}", err=True)
    return code


def _drop_output() -> None:
    """Let Python's own flush at exit go nowhere, or it fails once more."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # raised where stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
