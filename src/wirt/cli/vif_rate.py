"""``wirt network-rate``: how much a card may send and be sent."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

EPILOG = """\
A rate is written as in a configuration: 10Mb/s (bits), 250KB/s (bytes), and with a burst as what comes together in
an interval, as in 1MB/s@20ms. none takes a limit away; a direction that is not named stays as it is. It is kept in
the configuration, and holds at once if the domain runs. Only a card in a bridge has limits.

examples:
  wirt network-rate web 0 --rate 10Mb/s
  wirt network-rate web 00:16:3e:11:22:33 --rate 1MB/s@100ms --rate-in 50Mb/s
  wirt network-rate web 0 --rate none --rate-in none
  wirt network-rate web --weight 200           of each network's way out that is shared, twice what 100 gets
"""


def options_network_rate(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument(
        "card", metavar="DEVID|MAC", nargs="?", help="the card's number or address (wirt network-list)"
    )
    parser.add_argument("--rate", metavar="RATE", help="of what the guest sends")
    parser.add_argument("--rate-in", metavar="RATE", help="of what it is sent")
    parser.add_argument(
        "--weight", metavar="N", help="1 to 1000, without a card; none takes it away (100 unasked)"
    )


def run_network_rate(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error
    from wirt.cli.following import run_job
    from wirt.client.http import quote

    if args.weight is not None:
        from wirt.cli.weights import weigh

        if args.card is not None or args.rate is not None or args.rate_in is not None:
            usage_error(
                "a weight is a whole domain's: wirt network-rate DOMAIN --weight N, and nothing else with it"
            )
        return weigh(session, args.domain, "network-weight", args.weight)
    if args.card is None:
        usage_error("which card? wirt network-list shows them")

    given = {"rate": args.rate, "rate_in": args.rate_in}
    body: dict[str, object] = {
        name: "" if text == "none" else text for name, text in given.items() if text is not None
    }
    document = run_job(session, lambda: session.api.vif(args.domain, f"{quote(args.card)}/rate", body))
    if session.json:
        session.document(document)
    return 0
