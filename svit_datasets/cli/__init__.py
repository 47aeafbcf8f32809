"""The command line ``svit``: finds the command, and turns an error of ours into one line and exit code 1.

Each command is a module of this package with a ``command`` in it, imported only when it is asked for: `svit --help`
costs no import of datasets. A command parses, calls the library and prints: data on standard output, all else on
standard error.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any

import click

from svit_datasets.errors import SvitError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "build": "Make the Hub dataset's Parquet files from your copy.",
    "check": "Report what is wrong with a dataset; write a cleaned copy.",
    "demo": "Stream a small drawn corpus; needs neither data nor network.",
    "doctor": "Say whether the Hub and its viewer would take what you built.",
    "export": "Write a configuration as another trainer's files.",
    "generate": "Make SVIT-style data from annotations.",
    "head": "Print the first rows of a configuration.",
    "inspect": "Count what is in your copy of the files, and what is wrong with it.",
    "publish": "Send what you built to the Hub; go on where it broke off.",
    "render": "Print a row as the chat a model will read, answers marked.",
    "sample": "Write a small corpus of drawn scenes in the real layout.",
    "select": "Choose the most informative part of a dataset.",
    "sources": "List the published files, and which of them you have.",
    "stats": "Count what a dataset says; the paper's table beside it.",
    "templates": "Say what chat templates do with images, roles and ends of turns.",
    "view": "Look at a dataset in the browser: photos, chats, boxes, plots.",
}


class Commands(click.Group):
    """The commands by name, each in a module of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, without importing anything."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or return None where there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"svit_datasets.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it raises on purpose, or what the disk refuses, becomes one line."""
        try:
            return super().invoke(ctx)
        except SvitError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except OSError as error:
            if error.filename is None:  # a broken pipe is click's business; the rest would be ours to explain
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}.") from error


@click.group(
    name="svit", cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="svit-datasets", prog_name="svit")
def main() -> None:
    """Load, look at, publish and make SVIT: 4.2 million visual-instruction QAs on Visual Genome photos.

    \b
    Examples:
      svit demo                    see it work, without data or network
      svit sample ./svit-sample    write a small corpus to try things on
      svit head complex_reasoning --data-dir ./svit-sample
      svit view ./svit-sample      look at it in the browser
      svit render complex_reasoning --tokenizer vicuna_v1
      svit build ./svit --data-dir /data/svit && svit doctor ./svit
      svit generate --annotations /data/vg --out ./generated
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a letter that a terminal cannot show must not end a command
