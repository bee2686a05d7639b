"""A run's certificates for one migration: files in a directory that QEMU sees in its jail and can't write, and the
object that it reads them with (qemu(1), "tls-creds-x509").

They are made for one migration and end with it. So a QEMU that its guest has taken over learns nothing with which
it could be anybody else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wirt.hypervisors.qemu.blockjobs import to_the_end
from wirt.hypervisors.qemu.run import Run
from wirt.model.errors import HypervisorError, Shortage
from wirt.ports.migration import Credentials

ID = "migration-tls"
FFDHE2048 = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""The group of that name (RFC 7919, appendix A.1), which TLS 1.3 does not even use. A server that finds none makes
one of its own, which takes from a quarter of a second to several (measured)."""


@asynccontextmanager
async def shown(run: Run, credentials: Credentials | None, *, serves: bool) -> AsyncIterator[str]:
    """The object's id; empty where nothing need be protected. Afterwards object and files are gone."""
    if credentials is None:
        yield ""
        return
    try:
        await show(run, credentials, serves=serves)
        yield ID
    finally:
        await to_the_end(hide(run))


async def show(run: Run, credentials: Credentials, *, serves: bool) -> None:
    await hide(run)
    side = "server" if serves else "client"
    texts = {
        "ca-cert.pem": credentials.authority,
        f"{side}-cert.pem": credentials.certificate,
        f"{side}-key.pem": credentials.key,
        **({"dh-params.pem": FFDHE2048} if serves else {}),
    }
    try:
        _write(run.files.credentials, texts)
    except FileNotFoundError as error:
        raise HypervisorError(
            f"{run.name} was started by a wirt that could not move guests yet", hint=f"wirt reboot {run.name}"
        ) from error
    except OSError as error:
        raise Shortage(f"{run.name}: {run.files.credentials} can't be written: {error.strerror}") from error
    await run.monitor.execute(
        "object-add",
        {
            "qom-type": "tls-creds-x509",
            "id": ID,
            "dir": str(run.files.credentials),
            "endpoint": side,
            "verify-peer": True,
        },
    )


async def hide(run: Run) -> None:
    """Nothing there is no error, nor a run that is gone."""
    for path in _files(run.files.credentials):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(HypervisorError):
        if not run.process.gone:
            await run.monitor.execute("object-del", {"id": ID})


def _files(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _write(directory: Path, texts: dict[str, str]) -> None:
    """The directory around it is root's alone; in the jail another uid reads them."""
    for name, text in texts.items():
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            os.fchmod(descriptor, 0o444)
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
