"""``wirt``: finds the verb, runs it, and turns whatever happens into an exit code and a sentence.

Exit codes: 0 done, 1 the operation failed, 2 the command line was wrong; 130 after Ctrl-C and 141 when nobody
reads standard output any more, as a shell has them.
"""

from __future__ import annotations

import errno
import os
import sys

from wirt.cli.session import Session
from wirt.cli.verbs import HIDDEN, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wirt.cli.arguments import Globals

FAILED = 1
INTERRUPTED = 130
BROKEN_PIPE = 141
_OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def main(argv: list[str] | None = None) -> int:
    """Runs one command line; its exit code."""
    from wirt.client.errors import ClientError

    _never_fail_to_encode()
    session = Session()
    try:
        status = _run(sys.argv[1:] if argv is None else argv, session)
        sys.stdout.flush()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED
        _flush_or_forget()
    except KeyboardInterrupt:
        status = INTERRUPTED
        _flush_or_forget()
    except BrokenPipeError:
        status = BROKEN_PIPE
        _forget_output()
    except ClientError as error:
        status = FAILED
        _report(session, error)
    except OSError as error:
        status = _no_output(error) if error.errno in _OUTPUT_ERRORS else _fault(session, error)
    except Exception as fault:
        status = _fault(session, fault)
    return status


def _run(words: list[str], session: Session) -> int:
    from wirt.cli.arguments import read_globals, usage_error, verb_parser

    found = read_globals(words)
    session.json = found.output == "json"
    if found.version:
        return _version(session)
    if found.help or not found.rest:
        found.rest = ["help"]
    name = found.rest[0]
    verb = VERBS.get(name) or HIDDEN.get(name)
    if verb is None:
        return _unknown(name)
    module = __import__(f"wirt.cli.{verb.module}", fromlist=[verb.suffix])
    parser = verb_parser(verb, found.output)
    getattr(module, f"options_{verb.suffix}")(parser)
    if found.dry_run and parser.get_default("dryrun") is None:
        usage_error(f"-N: {name} has no dry run")
    args = parser.parse_intermixed_args(found.rest[1:])
    _merge(args, found)
    session.json = args.output == "json"
    status: int = getattr(module, f"run_{verb.suffix}")(args, session)
    return status


def _merge(args: object, found: Globals) -> None:
    if found.dry_run:
        args.dryrun = True  # type: ignore[attr-defined]


def _unknown(name: str) -> int:
    from difflib import get_close_matches

    from wirt.cli.arguments import usage_error

    close = get_close_matches(name, VERBS, n=1)
    usage_error(f"there is no verb '{name}'", f"did you mean: wirt {close[0]}" if close else "wirt help")


def _version(session: Session) -> int:
    from wirt import __version__

    if session.json:
        session.document({"api": "v1", "wirt_version": __version__})
    else:
        session.write(f"wirt {__version__}\n")
    return 0


def _report(session: Session, error: object) -> None:
    from wirt.client.errors import ClientError

    assert isinstance(error, ClientError)
    session.complain(error)
    if session.json and not session.documented:
        session.document({"api": "v1", "error": error.document()})
    _flush_or_forget()


def _fault(session: Session, fault: Exception) -> int:
    if os.environ.get("WIRT_DEBUG", "0") not in ("", "0"):
        import traceback

        traceback.print_exc()
    from wirt.client.errors import ClientError
    from wirt.wire.home import find_home

    log = find_home(os.environ, os.geteuid()).log
    error = ClientError(
        f"{type(fault).__name__}: {fault}".split("\n")[0] + " (this is a fault in wirt)",
        hint=f"wirtd's log is {log}; WIRT_DEBUG=1 shows where it happened",
    )
    error.code = "fault"
    _report(session, error)
    return FAILED


def _no_output(error: OSError) -> int:
    """A full disk under a redirection, most often."""
    sys.stderr.write(f"wirt: can't write the output: {error.strerror or error}\n")
    _forget_output()
    return FAILED


def _never_fail_to_encode() -> None:
    """A domain's name may hold what this terminal's encoding lacks; a stream may have been closed (``>&-``)."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _flush_or_forget() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()


def _forget_output() -> None:
    """Python flushes standard output once more at its end, and would complain then."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main())
