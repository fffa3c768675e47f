"""`obsd serve`: docs/cli.md."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path
from typing import Any, Final

import click

from obsd.cli.settings import flags_of, load_or_exit, server_options

_WHAT_TO_DO: Final[dict[int | None, str]] = {
    errno.ENOSPC: "; make room on the disk of the data directory",
    errno.EMFILE: "; allow more open files (ulimit -n, or LimitNOFILE= in systemd)",
    errno.EEXIST: "; the data directory holds files that are not obsd's",
    errno.ENOTDIR: "; the data directory holds files that are not obsd's",
}

_M_ARENA_MAX: Final = -8  # malloc.h's number.
_ARENAS: Final = 2


@click.command()
@server_options
def serve(config_file: Path | None, **options: Any) -> None:  # noqa: ANN401 - click's parameters
    """Run the server.

    Needs no options: it listens on 127.0.0.1:6273 and keeps its data in ./obsd-data. Prints one
    line when it is ready, and logs to standard error. SIGTERM or Ctrl-C stops it.
    """
    config = load_or_exit(config_file, flags_of(options))

    from obsd.services.logfmt import setup_logging

    setup_logging(config.log.level)

    # Imports make objects that stay: collecting garbage among them takes a fifth of the start.
    # The server turns it on again once it is ready.
    gc.disable()
    # numpy's linear algebra is not used, and its threads would each take memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    _share_arenas()

    from obsd.app import StartError, run
    from obsd.model.errors import CorruptDataError, ObsdError
    from obsd.services.data_dir import DataDirError

    try:
        run(config)
    except CorruptDataError as error:
        click.echo(
            f"obsd: {error}; 'obsd doctor' shows what else is damaged: restore the file from a"
            " backup, or start with another --data-dir",
            err=True,
        )
        raise SystemExit(1) from None
    except (StartError, DataDirError, ObsdError) as error:
        click.echo(f"obsd: {error}", err=True)
        raise SystemExit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"cannot start: {where}{error.strerror or error}{_WHAT_TO_DO.get(error.errno, '')}"
        click.echo(f"obsd: {text}; 'obsd doctor' tells more", err=True)
        raise SystemExit(1) from None


def _share_arenas() -> None:
    """Have glibc's allocator keep few arenas: each keeps what its threads have let go of."""
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # Other C libraries have none.
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
