"""What a guest with cloud-init reads to become another one than the guest that its disk was copied from.

The NoCloud data source takes a file system called ``cidata`` with the files ``meta-data``, ``user-data`` and
``vendor-data`` (cloud-init's documentation, "NoCloud", "Vendor-data", "Cloud boothook"). A new ``instance-id``
makes cloud-init do again what it does once for each instance: new host keys, the host's name. The person's user
data goes in as it is; what wirt wants is vendor data, so that neither replaces the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from wirt.model.errors import BadInput

VOLUME_ID = "cidata"
MOST_USER_DATA_BYTES = 256 * 1024
_LONGEST_LABEL = 63
_NOT_IN_HOSTS = re.compile(r"[^a-z0-9-]+")
_BOUNDARY = "=====wirt====="

_CONFIG = """\
#cloud-config
ssh_deletekeys: true
"""
# The text of /etc/machine-id is what systemd, D-Bus and most DHCP clients tell a machine by (machine-id(5)).
_BOOTHOOK = """\
#cloud-boothook
#!/bin/sh
cloud-init-per instance wirt-machine-id sh -c '
[ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
rm -f /etc/machine-id
if command -v systemd-machine-id-setup; then systemd-machine-id-setup
elif command -v dbus-uuidgen; then dbus-uuidgen --ensure=/etc/machine-id
else tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
fi'
"""


def seed_files(name: str, uuid: UUID, ssh_keys: Sequence[str], user_data: str | None) -> Mapping[str, bytes]:
    """The files of a seed, by name. JSON is YAML."""
    meta: dict[str, object] = {"instance-id": f"wirt-{uuid}", "local-hostname": hostname(name)}
    if ssh_keys:
        meta["public-keys"] = list(ssh_keys)
    return {
        "meta-data": (json.dumps(meta, indent=1) + "\n").encode(),
        "user-data": ("#cloud-config\n{}\n" if user_data is None else user_data).encode(),
        "vendor-data": _vendor_data().encode(),
    }


def hostname(name: str) -> str:
    """A domain's name as one label of a host name (RFC 1123)."""
    label = _NOT_IN_HOSTS.sub("-", name.lower()).strip("-")[:_LONGEST_LABEL].rstrip("-")
    return label or "guest"


def check_user_data(text: str) -> None:
    """``BadInput`` for what cloud-init would pass over without a word."""
    if len(text.encode()) > MOST_USER_DATA_BYTES:
        raise BadInput(f"user data takes at most {MOST_USER_DATA_BYTES // 1024} KiB")
    if not text.startswith(("#", "Content-Type:", "MIME-Version:")):
        raise BadInput(
            "that is no user data: its first line says nothing of what it is",
            hint="cloud-init knows it by its first line: #cloud-config, #!/bin/sh, ...",
        )


def check_ssh_key(key: str) -> None:
    if "\n" in key or len(key.split(" ")) < 2:
        raise BadInput(f"{key[:40]!r} is no public key", hint="a line of ~/.ssh/id_ed25519.pub, say")


def _vendor_data() -> str:
    lines = [f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"', "MIME-Version: 1.0", ""]
    for kind, body in (("cloud-boothook", _BOOTHOOK), ("cloud-config", _CONFIG)):
        lines += [f"--{_BOUNDARY}", f'Content-Type: text/{kind}; charset="us-ascii"', "", body]
    return "\n".join((*lines, f"--{_BOUNDARY}--", ""))
