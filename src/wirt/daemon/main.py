"""``wirtd``: started by hand, by systemd, or by the command ``wirt`` when none runs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

import wirt
from wirt.config.settings import SETTINGS, DaemonSettings, read_settings
from wirt.daemon import background, guard
from wirt.daemon.background import Starter
from wirt.daemon.guard import HomeTaken
from wirt.model.errors import WirtError
from wirt.wire.home import Home, find_home

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    home = find_home(os.environ, os.getuid())
    starter = background.Starter(options.ready_fd)
    try:
        guard.prepare(home)
        settings = _settings(home)
        if options.background:
            return background.start(home, join=options.join)
        return _serve(home, settings, starter)
    except WirtError as error:
        words = f"wirtd: {error}\n"
        with contextlib.suppress(OSError):
            sys.stderr.write(words)
        status = background.SERVED_BY_ANOTHER if starter.waits and isinstance(error, HomeTaken) else 1
        starter.tell(words.encode(errors="replace"))
        return status


def _parser() -> argparse.ArgumentParser:
    settings = "\n".join(f"  {s.name:15} {s.variable:20} {s.help} [{s.default}]" for s in SETTINGS)
    parser = argparse.ArgumentParser(
        prog="wirtd",
        description="The daemon behind wirt: it keeps this host's domains. Guests go on when it ends.",
        epilog=f"settings, in HOME/wirt.toml (or /etc/wirt/wirt.toml) and the environment:\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"wirtd {wirt.__version__}")
    parser.add_argument("--background", action="store_true", help="detach; return once it serves")
    parser.add_argument("--join", action="store_true", help="with --background: another daemon's start will do")
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    return parser


def _settings(home: Home) -> DaemonSettings:
    for path in (Path(home.state, "wirt.toml"), Path("/etc/wirt/wirt.toml")):
        try:
            return read_settings(path.read_text(), str(path), os.environ)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise WirtError(f"{path} can't be read: {error}") from error
    return read_settings("", "", os.environ)


def _serve(home: Home, settings: DaemonSettings, starter: Starter) -> int:
    held = guard.lock(home)
    try:
        _configure_log()
        asyncio.run(_run(home, settings, starter))
    finally:
        os.close(held)
    return 0


async def _run(home: Home, settings: DaemonSettings, starter: Starter) -> None:
    # Here and not above: they cost most of the start, and a second daemon must be told so at once.
    import uvicorn

    from wirt.api.app import make_app
    from wirt.daemon.peer_server import KEEP_ALIVE_S, serving_peers
    from wirt.daemon.wiring import running_host

    async with running_host(home, settings) as environment, serving_peers(environment):
        listener = guard.listen(home)
        config = uvicorn.Config(
            make_app(environment),
            log_config=None,
            access_log=False,
            http="h11",
            ws="websockets-sansio",
            lifespan="off",
            timeout_graceful_shutdown=2,
            timeout_keep_alive=KEEP_ALIVE_S,
        )

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                """None: uvicorn would take the signals for itself and raise them again once it has stopped."""
                yield

        server = Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        starter.tell(background.READY)
        _notify_systemd()
        log.info("serving", socket=home.socket, pid=os.getpid(), domains=len(environment.domains))
        try:
            await server.serve(sockets=[listener])
        finally:
            Path(home.socket).unlink(missing_ok=True)
        log.info("ended; guests go on")


def _notify_systemd() -> None:
    """That it serves (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(b"READY=1")


def _configure_log() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
