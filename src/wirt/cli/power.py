"""``wirt shutdown``, ``reboot``, ``destroy``, ``pause`` and ``unpause``: one thing done to several domains."""

from __future__ import annotations

from wirt.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json


def options_shutdown(parser: Parser) -> None:
    parser.epilog = (
        "The guest is asked, as by its power button, and decides itself; without -w wirt does not wait for it.\n\n"
        "examples:\n  wirt shutdown -w --timeout 60 web || wirt destroy web\n  wirt shutdown -aw"
    )
    _asking_options(parser, "shut down")


def options_reboot(parser: Parser) -> None:
    _asking_options(parser, "reboot")


def options_destroy(parser: Parser) -> None:
    parser.epilog = "The guest gets no chance to save anything. wirt shutdown asks it first."
    parser.add_argument("domains", metavar="DOMAIN", nargs="+", help="name, ID or UUID")


def options_pause(parser: Parser) -> None:
    parser.add_argument("domains", metavar="DOMAIN", nargs="+", help="name, ID or UUID")


def options_unpause(parser: Parser) -> None:
    parser.add_argument("domains", metavar="DOMAIN", nargs="+", help="name, ID or UUID")


def _asking_options(parser: Parser, what: str) -> None:
    from wirt.cli.arguments import seconds

    parser.add_argument("domains", metavar="DOMAIN", nargs="*", help="name, ID or UUID")
    parser.add_argument("-a", "--all", action="store_true", help="all domains but Domain-0")
    parser.add_argument("-w", "--wait", action="count", default=0, help=f"return when they have {what}")
    parser.add_argument("-F", action="store_true", help="accepted for xl's sake: ACPI is used where it must be")
    parser.add_argument("--timeout", metavar="S", type=seconds, help="wait at most so many seconds (with -w)")


_DEAF = "a guest that was not up yet has not heard it, and another wirt shutdown tells it again"


def run_shutdown(args: Namespace, session: Session) -> int:
    from wirt.cli.waiting import deadline_of, until_ended

    refs = _refs(args, session)
    deadline = deadline_of(args.timeout)

    def ask(ref: str) -> Json:
        session.say(f"Shutting down domain {ref}")
        return session.api.act(ref, "shutdown")

    def finish(ref: str) -> None:
        until_ended(session.api, ref, deadline, lambda: session.say(f"{ref} still runs: {_DEAF}"))

    return _each(session, refs, ask, finish if args.wait else None)


def run_reboot(args: Namespace, session: Session) -> int:
    import time

    from wirt.cli.waiting import deadline_of, until_rebooted

    refs = _refs(args, session)
    deadline = deadline_of(args.timeout)
    asked: dict[str, tuple[object, float]] = {}

    def ask(ref: str) -> Json:
        domain = session.api.domain(ref).get("domain") if args.wait else None
        session.say(f"Rebooting domain {ref}")
        asked[ref] = (domain.get("domid") if isinstance(domain, dict) else None, time.monotonic())
        return session.api.act(ref, "reboot")

    def finish(ref: str) -> None:
        until_rebooted(session.api, ref, *asked[ref], deadline)

    return _each(session, refs, ask, finish if args.wait else None)


def run_destroy(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    return _each(
        session, args.domains, lambda ref: run_job(session, lambda: session.api.act(ref, "destroy"), quiet=True)
    )


def run_pause(args: Namespace, session: Session) -> int:
    return _each(session, args.domains, lambda ref: session.api.act(ref, "pause"))


def run_unpause(args: Namespace, session: Session) -> int:
    return _each(session, args.domains, lambda ref: session.api.act(ref, "unpause"))


def _refs(args: Namespace, session: Session) -> list[str]:
    from wirt.cli.arguments import usage_error

    if args.timeout is not None and not args.wait:
        usage_error("--timeout needs -w")
    if bool(args.domains) == args.all:
        usage_error("name domains or say -a for all" if not args.all else "-a means all: name no domains with it")
    if not args.all:
        return list(args.domains)
    from wirt.client.decode import decode_list
    from wirt.wire.v1 import Domain

    domains = decode_list(Domain, session.api.domains(), "domains")
    return [domain.name for domain in domains if domain.domid != 0]


def _each(
    session: Session,
    refs: list[str],
    ask: Callable[[str], Json],
    finish: Callable[[str], None] | None = None,
) -> int:
    """Does it to every domain even if it fails for one; then waits for those where it did not. 1 if one failed."""
    outcomes: list[Json] = []
    for ref in refs:
        outcomes.append(_attempt(session, ref, ask))
    if finish is not None:
        for outcome in outcomes:
            if outcome["done"]:
                outcome.update(_attempt(session, outcome["domain"], finish))
    if session.json:
        session.document({"api": "v1", "domains": outcomes})
    return 0 if all(outcome["done"] for outcome in outcomes) else 1


def _attempt(session: Session, ref: str, what: Callable[[str], Json | None]) -> Json:
    try:
        job = what(ref)
    except ClientError as error:
        session.complain(error)
        return {"domain": ref, "done": False, "error": error.document()}
    return {"domain": ref, "done": True, **({"job": job} if job else {})}
