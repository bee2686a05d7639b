"""``--weight`` of ``wirt disk-qos`` and ``wirt network-rate``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wirt.cli.session import Session


def weigh(session: Session, domain: str, action: str, text: str) -> int:
    """Give ``domain`` the weight ``text``, or take it away with ``none``."""
    from wirt.cli.arguments import usage_error
    from wirt.client.api import domain_path
    from wirt.client.decode import decode
    from wirt.wire.v1_qos import Weight

    if text != "none" and not text.isdecimal():
        usage_error(f"a weight is a number, or none: not {text}")
    document = session.api.post(domain_path(domain, action), {"weight": None if text == "none" else int(text)})
    if session.json:
        session.document(document)
    for remark in decode(Weight, document).remarks:
        session.say(f"{domain}: {remark}")
    return 0
