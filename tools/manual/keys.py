"""The keys of a domain's configuration, as a manual page; their page in Markdown is wirt's own."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manual.blocks import Block, Code, Heading, Table

from wirt.config.xlcfg import KEYS
from wirt.config.xlcfg.keys.row import Group, Key


def keys_manual() -> Iterator[Block]:
    yield Heading(1, "DESCRIPTION")
    yield (
        "A file that `wirt create` and `wirt define` read is an xl.cfg as Xen's `xl`(1) takes it: one "
        "`key = value` a line. A value is a `string` in quotes, a number, or a list in brackets. `#` starts a "
        "comment. `+=` appends. Relative paths start from the directory that wirt is called in."
    )
    yield "A key that is not honoured yet is read, checked, kept, and named in a warning."
    yield Code(
        'name   = "web"\ntype   = "hvm"\nmemory = 512\ndisk   = [ "web.qcow2,qcow2,xvda,w" ]\nvif    = [ "" ]'
    )
    for group in Group:
        yield Heading(1, group.value.upper())
        yield Table(("key", "meaning"), tuple(_key_row(key) for key in KEYS.values() if key.group is group))
    yield Heading(1, "SEE ALSO")
    yield "`wirt`(1), `xl.cfg`(5), `xl-disk-configuration`(5), `xl-network-configuration`(5)"


def _key_row(key: Key) -> tuple[str, str]:
    parts = [key.help]
    if key.choices:
        parts.append(f"One of {', '.join(key.choices)}.")
    if key.default:
        parts.append(f"Default: {key.default}.")
    if key.instead:
        parts.append(f"Deprecated: use `{key.instead}`.")
    parts.append(f"Honoured by {', '.join(sorted(key.honoured))}." if key.honoured else "Not honoured yet.")
    return f"`{key.name}` = {key.type}", " ".join(parts)
