"""``wirt top``'s text: xentop's columns, as wide as there (xen tools/xentop/xentop.c, "fields"), and pictures of
the last minute."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from wirt.wire.v1_stats import DomainStats, HostStats, StatsList

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = ".:-=+*%#"
"""For terminals that have no Unicode."""
SECTOR_BYTES = 512
PICTURE = 20
PICTURE_AFTER = "CPU(%)"
PICTURE_HEADER = "LAST MINUTE"
_IN_A_ROW = 5


class Column:
    """``width`` in letters; ``key`` sorts, the largest first if it is a number."""

    __slots__ = ("_form", "header", "key", "width")

    def __init__(
        self, header: str, width: int, key: Callable[[DomainStats, HostStats], Any], form: str = "{:d}"
    ) -> None:
        self.header = header
        self.width = width
        self.key = key
        self._form = form

    def text(self, domain: DomainStats, host: HostStats) -> str:
        return self._form.format(self.key(domain, host))


def _part(bytes_: int, host: HostStats) -> float:
    return 100 * bytes_ / host.memory_bytes if host.memory_bytes else 0.0


COLUMNS = (
    Column("NAME", 10, lambda d, h: printable(d.name), "{}"),
    Column("STATE", 6, lambda d, h: state(d), "{}"),
    Column("CPU(sec)", 10, lambda d, h: int(d.cpu_time_s)),
    Column("CPU(%)", 6, lambda d, h: d.cpu_percent or 0.0, "{:.1f}"),
    Column("MEM(k)", 10, lambda d, h: d.memory_bytes // 1024),
    Column("MEM(%)", 6, lambda d, h: _part(d.memory_bytes, h), "{:.1f}"),
    Column("MAXMEM(k)", 10, lambda d, h: d.max_memory_bytes // 1024),
    Column("MAXMEM(%)", 9, lambda d, h: _part(d.max_memory_bytes, h), "{:.1f}"),
    Column("VCPUS", 5, lambda d, h: d.vcpus_count),
    Column("NETS", 4, lambda d, h: len(d.nets)),
    Column("NETTX(k)", 8, lambda d, h: sum(net.tx_bytes for net in d.nets) // 1024),
    Column("NETRX(k)", 8, lambda d, h: sum(net.rx_bytes for net in d.nets) // 1024),
    Column("VBDS", 4, lambda d, h: len(d.disks)),
    # Requests that found no room in a ring: Xen's back ends count them, and QEMU does not.
    Column("VBD_OO", 8, lambda d, h: 0),
    Column("VBD_RD", 8, lambda d, h: sum(disk.reads for disk in d.disks)),
    Column("VBD_WR", 8, lambda d, h: sum(disk.writes for disk in d.disks)),
    Column("VBD_RSECT", 10, lambda d, h: sum(disk.read_bytes for disk in d.disks) // SECTOR_BYTES),
    Column("VBD_WSECT", 10, lambda d, h: sum(disk.written_bytes for disk in d.disks) // SECTOR_BYTES),
    # Of Xen's security labels, which there are none of.
    Column("SSID", 4, lambda d, h: 0),
)
_STATES = "dsbcpr"
"""In xentop's order, which is not that of ``xl list``."""


def state(domain: DomainStats) -> str:
    return "".join(letter if letter in domain.flags else "-" for letter in _STATES)


class View:
    """What is shown, and how: xentop's options and keys."""

    def __init__(self, *, pictures: str = "", delay_s: float = 3.0) -> None:
        self.vcpus = self.networks = self.vbds = self.repeat_header = False
        self.full_name = self.zero_first = False
        self.sort = 0
        self.first = 0
        self.delay_s = delay_s
        self.prompt: str | None = None
        """What was typed so far where a delay is asked for."""
        self.pictures = pictures
        """The marks that they are drawn with, the lowest first; none where there are no pictures."""

    def ordered(self, stats: StatsList) -> list[DomainStats]:
        column, domains = COLUMNS[self.sort], list(stats.domains)
        if isinstance(column.key(domains[0], stats.host) if domains else "", str):
            domains.sort(key=lambda domain: str(column.key(domain, stats.host)).casefold())
        else:
            domains.sort(key=lambda domain: column.key(domain, stats.host), reverse=True)
        if self.zero_first:
            domains.sort(key=lambda domain: domain.domid != 0)
        return domains

    def width(self, column: Column, domains: Sequence[DomainStats], host: HostStats) -> int:
        """Wider than xentop's only where a number would not fit, or all of a name is wanted."""
        if column.header == "NAME" and not self.full_name:
            return column.width
        return max(column.width, *(len(column.text(domain, host)) for domain in domains))


class Line:
    """``bold``: from where to where."""

    __slots__ = ("bold", "header", "text")

    def __init__(self, text: str, *, header: bool = False, bold: tuple[int, int] = (0, 0)) -> None:
        self.text = text
        self.header = header
        self.bold = bold


def body(stats: StatsList, view: View) -> list[Line]:
    """The table, from the first domain that is to be seen."""
    domains = view.ordered(stats)
    view.first = min(view.first, max(0, len(domains) - 1))
    widths = [view.width(column, domains, stats.host) for column in COLUMNS] if domains else []
    lines: list[Line] = []
    for domain in domains[view.first :]:
        if not lines or view.repeat_header:
            lines.append(_row(view, widths, [column.header for column in COLUMNS], PICTURE_HEADER, header=True))
        cells = [column.text(domain, stats.host) for column in COLUMNS]
        lines.append(_row(view, widths, cells, _cpu_picture(domain, view)))
        lines += [Line(text) for text in _details(domain, view)]
    return lines


def _row(view: View, widths: list[int], cells: list[str], picture: str, *, header: bool = False) -> Line:
    parts, bold, length = [], (0, 0), 0
    for at, (column, width, cell) in enumerate(zip(COLUMNS, widths, cells, strict=True)):
        part = f"{cell[:width]:>{width}}"
        if at == view.sort:
            bold = (length, length + width)
        parts.append(part)
        length += width + 1
        if view.pictures and column.header == PICTURE_AFTER:
            parts.append(f"{picture:<{PICTURE}}")
            length += PICTURE + 1
    return Line(" ".join(parts), header=header, bold=bold)


def _details(domain: DomainStats, view: View) -> list[str]:
    lines: list[str] = []
    if view.vcpus:
        for at in range(0, len(domain.vcpus), _IN_A_ROW):
            some = domain.vcpus[at : at + _IN_A_ROW]
            start = "VCPUs(sec): " if at == 0 else "            "
            lines.append(start + "".join(f" {vcpu.index:2d}: {int(vcpu.cpu_time_s):10d}s" for vcpu in some))
        lines += [_vcpu(vcpu.index, vcpu.cpu, vcpu.cpu_percent, vcpu.steal_percent) for vcpu in domain.vcpus]
    if view.networks:
        for net in domain.nets:
            received = f"{net.rx_bytes:8d}bytes {net.rx_packets:8d}pkts {0:8d}err {net.rx_dropped:8d}drop"
            sent = f"{net.tx_bytes:8d}bytes {net.tx_packets:8d}pkts {0:8d}err {net.tx_dropped:8d}drop"
            lines.append(f"Net{net.index} RX: {received}  TX: {sent}")
        if view.pictures and domain.nets and domain.history is not None:
            lines.append("Net  " + _bytes_picture(domain.history.net_bytes_per_s, view))
    if view.vbds:
        for disk in domain.disks:
            sectors = disk.read_bytes // SECTOR_BYTES, disk.written_bytes // SECTOR_BYTES
            lines.append(
                f"VBD {printable(disk.vdev):>8} OO: {0:8d}   RD: {disk.reads:8d}   WR: {disk.writes:8d}   "
                f"RSECT: {sectors[0]:10d}   WSECT: {sectors[1]:10d}"
            )
        if view.pictures and domain.disks and domain.history is not None:
            lines.append("VBD  " + _bytes_picture(domain.history.disk_bytes_per_s, view))
    return lines


def _vcpu(index: int, cpu: int | None, used: float | None, steal: float | None) -> str:
    where = "-" if cpu is None else str(cpu)
    return f"VCPU {index:2d}: CPU {where:>3} {_percent(used)} used {_percent(steal)} steal"


def _percent(value: float | None) -> str:
    return "     -" if value is None else f"{value:5.1f}%"


def _cpu_picture(domain: DomainStats, view: View) -> str:
    """Of all that the domain's vCPUs could use."""
    if domain.history is None:
        return ""
    return picture(domain.history.cpu_percent, 100.0 * max(1, domain.vcpus_count), view.pictures)


def _bytes_picture(values: Sequence[float | None], view: View) -> str:
    most = max((value for value in values if value is not None), default=0.0)
    last = values[-1] if values else None
    now = "-" if last is None else f"{last / 1024:.1f} kB/s"
    return f"{picture(values, most or 1.0, view.pictures):<{PICTURE}} {now}, at most {most / 1024:.1f} kB/s"


def picture(values: Sequence[float | None], most: float, marks: str) -> str:
    """A mark for each of so many parts of the time, the newest at the right: the mean of what falls into it, from
    the lowest mark for nothing to the highest for ``most``. A blank where nothing is known."""
    if not marks:
        return ""
    a_mark = -(-60 // PICTURE)
    parts = [list(values[max(0, end - a_mark) : end]) for end in range(len(values), 0, -a_mark)][:PICTURE]
    drawn = [_mark(part, most, marks) for part in reversed(parts)]
    return "".join(drawn).rjust(PICTURE)


def _mark(part: list[float | None], most: float, marks: str) -> str:
    known = [value for value in part if value is not None]
    if not known:
        return " "
    share = min(1.0, max(0.0, sum(known) / len(known) / most))
    return marks[min(len(marks) - 1, round(share * (len(marks) - 1)))]


def summary(stats: StatsList, when: str) -> list[str]:
    """The lines above the table, as xentop has them."""
    host, flags = stats.host, [domain.flags for domain in stats.domains]
    count = {letter: sum(letter in each for each in flags) for letter in "rbpcds"}
    used = host.memory_bytes - host.available_bytes
    cpu = "" if host.cpu_percent is None else f", {host.cpu_percent:.1f}% of {100 * host.cpus}% busy"
    return [
        f"wirt top - {when}   {printable(host.name)}",
        f"{len(flags)} domains: {count['r']} running, {count['b']} blocked, {count['p']} paused, "
        f"{count['c']} crashed, {count['d']} dying, {count['s']} shutdown",
        f"Mem: {host.memory_bytes // 1024}k total, {used // 1024}k used, {host.available_bytes // 1024}k free    "
        f"CPUs: {host.cpus}{cpu}",
    ]
