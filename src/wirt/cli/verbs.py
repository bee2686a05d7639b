"""The table of verbs: what ``wirt`` can do, and which module does it."""

from __future__ import annotations


class Verb:
    """``module`` (of ``wirt.cli``) has ``options_VERB(parser)`` and ``run_VERB(args, session)``, with ``-`` as
    ``_``. A plain class: a dataclass costs half a millisecond."""

    __slots__ = ("group", "help", "module", "name")

    def __init__(self, group: str, name: str, module: str, text: str) -> None:
        self.group = group
        self.name = name
        self.module = module
        self.help = text

    @property
    def suffix(self) -> str:
        return self.name.replace("-", "_")


RUN = "Run domains"
LOOK = "Look at them"
KEEP = "Keep and name them"
HOST = "The host"

VERBS = {
    verb.name: verb
    for verb in (
        Verb(RUN, "create", "create", "start a domain from an xl.cfg file"),
        Verb(RUN, "start", "start", "start a domain that is defined and off"),
        Verb(RUN, "shutdown", "power", "ask domains to shut down"),
        Verb(RUN, "reboot", "power", "ask domains to reboot"),
        Verb(RUN, "destroy", "power", "end domains at once, like pulling the plug"),
        Verb(RUN, "pause", "power", "stop domains where they are"),
        Verb(RUN, "unpause", "power", "let paused domains go on"),
        Verb(RUN, "set-time", "agent", "set a guest's clock to the host's, through the agent inside it"),
        Verb(RUN, "save", "saves", "write a domain into a file, from which it can go on"),
        Verb(RUN, "restore", "saves", "let a saved domain go on"),
        Verb(RUN, "wait", "wait", "wait until a domain is off, running, paused ..."),
        Verb(RUN, "network-attach", "vifs", "give a domain another network card, also while it runs"),
        Verb(RUN, "network-detach", "vifs", "take a network card from a domain, also while it runs"),
        Verb(RUN, "network-link", "vifs", "pull the cable of a network card, or plug it in again"),
        Verb(RUN, "network-rate", "vif_rate", "limit what a network card sends and is sent, also while it runs"),
        Verb(RUN, "disk-move", "disks", "put a domain's disk into another volume, also while it runs"),
        Verb(RUN, "disk-qos", "disk_qos", "limit what a guest asks of its disks, also while it runs"),
        Verb(RUN, "qos", "qos", "give a domain a class of service, or show what it has and from where"),
        Verb(RUN, "mem-set", "memory", "say how much memory a domain holds, also while it runs"),
        Verb(RUN, "mem-max", "memory", "say how much memory a domain can have at most"),
        Verb(RUN, "migrate", "migrate", "move running domains to another host"),
        Verb(RUN, "sched-credit", "sched", "show domains' weights and caps, or change them"),
        Verb(RUN, "sched-credit2", "sched", "the same, as Xen's newer scheduler calls it"),
        Verb(RUN, "sched-rtds", "sched", "give each vCPU of a domain a budget in each period"),
        Verb(RUN, "vcpu-pin", "sched_pin", "keep a domain's vCPUs to CPUs of the host"),
        Verb(RUN, "vcpu-set", "sched_pin", "say how many vCPUs a domain has"),
        Verb(RUN, "refresh", "refresh", "let running domains go on in the QEMU that is installed now"),
        Verb(LOOK, "list", "listing", "list domains: memory, CPUs, state, time"),
        Verb(LOOK, "console", "console", "be at a domain's console (Ctrl-] leaves)"),
        Verb(LOOK, "vcpu-list", "vcpus", "list the virtual CPUs of domains"),
        Verb(LOOK, "top", "top", "watch what domains use, as xentop shows it"),
        Verb(LOOK, "stats", "stats", "show what domains use: CPU, steal, memory, disks, networks"),
        Verb(LOOK, "uptime", "uptime", "show how long domains have been running"),
        Verb(LOOK, "network-list", "networks", "list a domain's network cards"),
        Verb(LOOK, "agent", "agent", "show what the agent inside a guest tells of it"),
        Verb(LOOK, "migrations", "migrate", "list what came of moves between hosts"),
        Verb(LOOK, "events", "events", "print what happens, as it happens"),
        Verb(KEEP, "define", "create", "keep a domain from an xl.cfg file, without starting it"),
        Verb(KEEP, "undefine", "names", "forget a domain that is off"),
        Verb(KEEP, "rename", "names", "give a domain another name"),
        Verb(KEEP, "snapshot", "snapshots", "keep domains as they are, and go back to that"),
        Verb(KEEP, "clone", "clone", "make domains from a template, or from a domain that is off"),
        Verb(KEEP, "fork", "fork", "make running copies of a domain that runs"),
        Verb(KEEP, "template", "templates", "keep a domain to make others from, which may stand on its disks"),
        Verb(KEEP, "domid", "names", "print the ID of a running domain"),
        Verb(KEEP, "domname", "names", "print the name of the domain with an ID"),
        Verb(HOST, "info", "info", "show the host, its hypervisor and why it was chosen"),
        Verb(HOST, "jobs", "jobs", "list long operations, or cancel one"),
        Verb(HOST, "image", "images", "build or list guest images"),
        Verb(HOST, "bootstrap", "bootstrap", "install a Linux straight onto a volume, a device or an image"),
        Verb(HOST, "import", "appliances", "make a domain of an OVA, an OVF, a Xen XVA or a disk image"),
        Verb(HOST, "export", "appliances", "write a domain into one file that other hosts read (OVA)"),
        Verb(HOST, "security-group", "groups", "say what may reach guests, and what they may reach"),
        Verb(HOST, "audit", "audit", "show what running domains can reach, beside what they should"),
        Verb(HOST, "pool", "pools", "say where the disks of guests live"),
        Verb(HOST, "volume", "volumes", "make, copy, grow and remove the disks of guests"),
        Verb(
            HOST, "backup", "backup", "back up the disks of domains, also while they run; check and prune backups"
        ),
        Verb(HOST, "restore-backup", "backup", "make a domain, or one disk, from a backup"),
        Verb(HOST, "network", "network", "make networks for guests, and see how they are"),
        Verb(HOST, "peer", "peers", "make other hosts known to this one, so that guests can move there"),
        Verb(HOST, "cpu", "cpu", "show which CPUs guests can have, here or on each of several hosts"),
        Verb(HOST, "cpupool-list", "cpu_pools", "list pools of CPUs"),
        Verb(HOST, "cpupool-create", "cpu_pools", "set CPUs apart for some domains"),
        Verb(HOST, "cpupool-destroy", "cpu_pools", "give a pool's CPUs back to all"),
        Verb(HOST, "cpupool-cpu-add", "cpu_pools", "give a pool of CPUs more of them"),
        Verb(HOST, "cpupool-cpu-remove", "cpu_pools", "take CPUs from a pool"),
        Verb(HOST, "cpupool-migrate", "cpu_pools", "put a domain into a pool of CPUs"),
        Verb(HOST, "qos-class", "qos", "say what classes of service are, and change who runs with them"),
        Verb(HOST, "memory", "memory", "show who has the host's memory, and the proof that it fits"),
        Verb(HOST, "lab", "lab", "make hosts to try things on, all on this machine"),
        Verb(HOST, "help", "help", "explain a verb, or the keys of an xl.cfg file"),
    )
}

HIDDEN = {"relay": Verb(HOST, "relay", "relay", "join standard input and output to wirtd, for another host")}
"""What people don't call."""
