"""`obsd`: commands by name, each imported only when it is used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from obsd import __version__

if TYPE_CHECKING:
    import click

# Name -> module, attribute, one line for `obsd --help`. In the order of use.
COMMANDS: Final = {
    "serve": ("obsd.cli.serve", "serve", "Run the server."),
    "query": ("obsd.cli.query", "query", "Ask a running server with PromQL."),
    "logs": ("obsd.cli.logs", "logs", "Search the logs of a running server."),
    "traces": ("obsd.cli.traces", "traces", "Find, show and compare traces of a running server."),
    "config": ("obsd.cli.config", "config", "Show or check the configuration."),
    "doctor": ("obsd.cli.doctor", "doctor", "Check this machine and the data directory."),
}


def _build_group() -> click.Group:
    import click  # Neither is for --version.

    from obsd.config.errors import nearest_hint

    class LazyGroup(click.Group):
        """Knows its commands' names and help without importing them."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(COMMANDS)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in COMMANDS:
                return None
            module, attribute, _ = COMMANDS[cmd_name]
            command: click.Command = getattr(import_module(module), attribute)
            return command

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            if args[0] not in COMMANDS and not args[0].startswith("-"):
                ctx.fail(f"there is no command {args[0]!r}{nearest_hint(args[0], COMMANDS)}")
            return super().resolve_command(ctx, args)

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    @click.group(
        cls=LazyGroup,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        epilog="Exit status: 0 is success, 1 is failure, 2 is wrong usage.",
    )
    @click.version_option(__version__, message="obsd %(version)s")
    def group() -> None:
        """Metrics, logs and traces in one process, on one machine, with no configuration."""

    return group


def main() -> None:
    """The entry point."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"obsd {__version__}\n")
        return
    _build_group()(prog_name="obsd")


if __name__ == "__main__":
    main()
