"""``wirt network``: what guests are plugged into, and what leads out of it."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json
    from wirt.wire.v1_networks import Network, NetworkCard, NetworkDetail, NetworkPlan

ROUTE, PLAN_ROUTE = "/v1/networks", "/v1/network-plan"
HEADER = ("Name", "Mode", "Bridge", "Address", "Uplink", "Vifs", "State")
ACTIONS = ("create", "list", "info", "destroy", "plan")
EPILOG = """\
  create NAME    make a network; a vif joins it with network=NAME
  list           all of them; default is that of vifs which name none
  info NAME      how it is: devices, cards, leases, what was mended
  destroy NAME   refused while cards of running domains are in it
  plan [NAME]    what would be done to make the host as recorded; nothing is

modes:
  nat       guests reach each other, the host and, under its address, the world (the default mode)
  routed    guests reach the world under their own addresses, which routers around must send here (--address)
  isolated  guests reach each other and the host
  bridge    guests share a card of the host (--uplink, with --vlan one tagged network on it), or a bridge that
            someone else looks after (--bridge)
  vxlan     an Ethernet over the hosts' own network (--vni, --local, and --peer for each other host)

nat and isolated pick a free private network, and give out addresses and names (dnsmasq) unless told otherwise. A
guest whose vif has ip= gets that address. Guests of one network never reach those of another through the host,
unless both are routed. Forwarding is switched on for the bridge and for the way out, not for the whole host.

examples:
  wirt network create lan
  wirt network create lab --mode isolated --address 10.5.0.1/24 --dhcp 10.5.0.100-10.5.0.199 --domain lab
  wirt network create office --mode bridge --uplink eth1 --vlan 10
  wirt network create wide --vni 7 --local 192.0.2.1 --peer 192.0.2.2 --peer 192.0.2.3
  wirt network create lan -n
"""
_OPTIONS = (
    *("mode", "bridge", "address", "address6", "dhcp", "dns", "domain", "uplink", "vlan", "vni", "local"),
    *("peers", "port", "mtu", "vlan_filtering", "share"),
)


def options_network(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the network's name")
    parser.add_argument(
        "-n", "--dryrun", "--dry-run", action="store_true", help="create: show the plan, do nothing"
    )
    parser.add_argument("--mode", metavar="MODE", help="nat, routed, isolated, bridge or vxlan")
    parser.add_argument("--bridge", metavar="DEVICE", help="the bridge's name (default: br-NAME)")
    parser.add_argument("--address", metavar="ADDR/LEN", help="the host's address in it; none keeps the host out")
    parser.add_argument("--address6", metavar="ADDR/64", help="the same for IPv6; guests choose theirs by it")
    dhcp = parser.add_mutually_exclusive_group()
    dhcp.add_argument("--dhcp", metavar="FIRST-LAST", help="addresses to give out (default: all that are left)")
    dhcp.add_argument("--no-dhcp", dest="dhcp", action="store_const", const="none", help="give out none")
    dns = parser.add_mutually_exclusive_group()
    dns.add_argument("--dns", action="store_true", default=None, help="answer for guests' names, and the world's")
    dns.add_argument("--no-dns", dest="dns", action="store_false", help="answer for no names")
    parser.add_argument("--domain", metavar="DOMAIN", help="what guests' names end with, as in lan")
    parser.add_argument("--uplink", metavar="CARD", help="a card of the host: the way out, and no other")
    parser.add_argument("--vlan", metavar="N", type=int, help="of the uplink, this tagged network (1 to 4094)")
    parser.add_argument("--vni", metavar="N", type=int, help="the number of the VXLAN")
    parser.add_argument("--local", metavar="ADDR", help="this host's address, as the VXLAN's other hosts know it")
    parser.add_argument("--peer", dest="peers", metavar="ADDR", action="append", help="another host of the VXLAN")
    parser.add_argument("--port", metavar="N", type=int, help="the VXLAN's UDP port (default: 4789)")
    parser.add_argument("--mtu", metavar="N", type=int, help="the largest packet, in bytes")
    parser.add_argument("--share", metavar="RATE", help="what the way out carries, as in 1Gb/s: shared by weights")
    parser.add_argument("--vlan-filtering", action="store_true", default=None, help="let vifs with vlan= join")


def run_network(args: Namespace, session: Session) -> int:
    _check(args)
    if args.action == "create":
        return _plan_of(args, session) if args.dryrun else _create(args, session)
    if args.action == "destroy":
        return _destroy(args.name, session)
    if args.action == "plan":
        target = PLAN_ROUTE if args.name is None else f"{PLAN_ROUTE}?network={_quoted(args.name)}"
        return _show_plan(session.api.get(target), session)
    return _list(session) if args.action == "list" else _info(args.name, session)


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    if args.action == "list" and args.name is not None:
        usage_error(f"list takes no name: wirt network info {args.name}")
    if args.action in ("create", "info", "destroy") and not args.name:
        usage_error(f"which network? wirt network {args.action} NAME")
    if args.action != "create":
        said = [name for name in _OPTIONS if getattr(args, name) is not None]
        if said or args.dryrun:
            word = "n" if args.dryrun else "-" + ("peer" if said[0] == "peers" else said[0].replace("_", "-"))
            usage_error(f"-{word} is for create, not for {args.action}")


def _request(args: Namespace) -> dict[str, object]:
    return {"name": args.name} | {
        name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None
    }


def _create(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    document = run_job(session, lambda: session.api.post(ROUTE, _request(args)))
    if session.json:
        session.document(document)
        return 0
    network = _detail(session.api.get(_route(args.name))).network
    session.write(f"{printable(network.name)}: {_summary(network)}\n")
    return 0


def _summary(network: Network) -> str:
    parts = [f"{network.mode}, bridge {network.bridge}"]
    parts += [address for address in (network.address, network.address6) if address is not None]
    if network.dhcp is not None:
        parts.append(f"DHCP {network.dhcp}")
    return printable(", ".join(parts))


def _destroy(name: str, session: Session) -> int:
    from wirt.cli.following import run_job

    document = run_job(session, lambda: session.api.post(f"{_route(name)}/destroy"), quiet=True)
    if session.json:
        session.document(document)
    return 0


def _plan_of(args: Namespace, session: Session) -> int:
    return _show_plan(session.api.post(PLAN_ROUTE, _request(args)), session)


def _show_plan(document: Json, session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_networks import NetworkPlan

    if session.json:
        session.document(document)
        return 0
    session.write(format_plan(decode(NetworkPlan, document)))
    return 0


def format_plan(plan: NetworkPlan) -> str:
    lines = []
    if plan.config is not None:
        lines.append(f"{printable(plan.config.name)}: {_summary(plan.config)}")
    width = max((len(printable(action.network or "all")) for action in plan.actions), default=0)
    for action in plan.actions:
        lines.append(f"{printable(action.network or 'all'):<{width}}  {printable(action.sentence)}")
    for problem in plan.problems:
        lines.append(f"{printable(problem.network or 'all')}: {printable(problem.message)}")
        lines.append(f"  hint: {printable(problem.hint)}")
    return "".join(f"{line}\n" for line in lines or ["Nothing is to be done."])


def _list(session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.wire.v1_networks import Network

    document = session.api.get(ROUTE)
    networks = decode_list(Network, document, "networks")
    if session.json:
        session.document(document)
    else:
        session.write(table(HEADER, [_row(network) for network in networks]))
    return 0


def _row(network: Network) -> tuple[str, ...]:
    addresses = [each for each in (network.address, network.address6) if each is not None]
    uplink = network.uplink or "-"
    if network.vlan is not None:
        uplink = f"{uplink} VLAN {network.vlan}"
    if network.vni is not None:
        uplink = f"VXLAN {network.vni}"
    return (
        network.name,
        network.mode,
        network.bridge,
        ",".join(addresses) or "-",
        uplink,
        str(network.vifs),
        network.state,
    )


def _info(name: str, session: Session) -> int:
    document = session.api.get(_route(name))
    detail = _detail(document)
    if session.json:
        session.document(document)
    else:
        session.write(format_detail(detail))
    return 0


def format_detail(detail: NetworkDetail) -> str:
    import time

    network = detail.network
    lines = [_line(name, value) for name, value in _facts(detail) if value]
    for problem in network.problems:
        lines += [_line("problem", problem.message), _line("hint", problem.hint)]
    for each in detail.mended:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
        lines.append(_line("mended", f"{when} {each.what}"))
    text = "".join(lines)
    devices: list[tuple[str, ...]] = [
        (each.name, each.kind or "-", each.state, str(each.mtu or "-"), ",".join(each.addresses) or "-")
        for each in detail.devices
    ]
    text += "\n" + table(("Device", "Kind", "State", "MTU", "Addresses"), devices)
    if detail.vifs:
        cards = [_card(each) for each in detail.vifs]
        text += "\n" + table(("Domain", "ID", "Idx", "Mac Addr.", "Tap", "Addresses"), cards)
    if detail.leases:
        leases: list[tuple[str, ...]] = [
            (each.address, each.mac, each.name or "-", _until(each.until)) for each in detail.leases
        ]
        text += "\n" + table(("Leased", "Mac Addr.", "Name", "Until"), leases)
    return text


def _card(card: NetworkCard) -> tuple[str, ...]:
    addresses = ",".join(card.addresses) or "-"
    return (card.domain, _or_dash(card.domid), str(card.index), card.mac, card.tap or "-", addresses)


def _facts(detail: NetworkDetail) -> list[tuple[str, str]]:
    network = detail.network
    words = {True: "yes", False: ""}
    return [
        ("name", network.name),
        ("mode", network.mode),
        ("state", network.state),
        ("bridge", network.bridge + ("" if network.own_bridge else " (not wirt's)")),
        ("address", network.address or ""),
        ("address6", network.address6 or ""),
        ("dhcp", network.dhcp or ""),
        ("router advertisements", words[network.advertise]),
        ("dns", words[network.dns]),
        ("domain", network.domain or ""),
        ("uplink", network.uplink or ""),
        ("vlan", _or_dash(network.vlan, "")),
        ("vni", _or_dash(network.vni, "")),
        ("local", network.local or ""),
        ("peers", " ".join(network.peers)),
        ("port", _or_dash(network.port, "")),
        ("mtu", _or_dash(network.mtu, "")),
        ("vlan filtering", words[network.vlan_filtering]),
        ("shared", _shared(network)),
        ("dnsmasq", _or_dash(detail.server, "")),
    ]


def _shared(network: Network) -> str:
    if network.share is None:
        return ""
    ways = "of what guests are sent" if network.mode in ("nat", "routed") else "each way"
    return f"{network.share} {ways}, by weights"


def _or_dash(value: object, nothing: str = "-") -> str:
    return nothing if value is None else str(value)


def _until(until: float | None) -> str:
    import time

    return "for ever" if until is None else time.strftime("%H:%M:%S", time.localtime(until))


def _line(name: str, value: str) -> str:
    return f"{name:<23}: {printable(value)}\n"


def _detail(document: Json) -> NetworkDetail:
    from wirt.client.decode import decode
    from wirt.wire.v1_networks import NetworkDetail

    return decode(NetworkDetail, document)


def _route(name: str) -> str:
    return f"{ROUTE}/{_quoted(name)}"


def _quoted(name: str) -> str:
    from wirt.client import http

    return http.quote(name)
