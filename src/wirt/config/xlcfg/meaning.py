"""From settings to a :class:`DomainConfig`: the rules that tie keys together (xl.cfg(5)).

One function for each part of the configuration; all read the same checked :class:`Settings` and leave
notices, and new spellings of relative paths, in one :class:`Reading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from uuid import UUID

from wirt.config.xlcfg import peripherals
from wirt.config.xlcfg.keys import KEYS, Key, Kind, nearest
from wirt.config.xlcfg.reading import Reading
from wirt.config.xlcfg.settings import Setting, Settings, check, shown
from wirt.config.xlcfg.syntax import Items, Source, Text
from wirt.model.cpu import parse_choice
from wirt.model.cpulists import CPU_TERM, HINT
from wirt.model.domain import DomainConfig, Firmware, GuestType
from wirt.model.errors import BadInput
from wirt.model.lifecycle import Action
from wirt.model.memory import PLUG_MIB, HugePages
from wirt.model.qos import NAME_HINT, NO_CLASS
from wirt.model.qos import name_fault as qos_name_fault

DEFAULT_MEMORY_MIB = 128
LONGEST_NAME = 128

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
# What old files name for hvm guests; the firmware of Xen itself, not a kernel.
_HVMLOADER = "hvmloader"
_PVGRUB = ("pvgrub32", "pvgrub64")


def read_config(
    settings: dict[str, Setting], source: Source, cwd: PurePosixPath, pools: frozenset[str] = frozenset()
) -> tuple[DomainConfig, Reading]:
    """What the settings mean. Raises :class:`ConfigError` for a known key with a bad value, and for what
    is missing; whatever is only unknown, ignored or not honoured yet becomes a notice."""
    reading = Reading(Settings(settings), cwd, pools=pools)
    for setting in settings.values():
        _look_up(reading, setting)
    reading.type = _type(reading)
    _explain(reading, settings.values())
    return _config(reading, source), reading


def _look_up(reading: Reading, setting: Setting) -> None:
    row = KEYS.get(setting.key)
    if row is None:
        near = nearest(setting.key) if len(reading.notices) < 50 else None
        guess = f"; did you mean {near}?" if near else ""
        name = setting.key if len(setting.key) <= 60 else setting.key[:57] + "..."
        reading.about(setting, f"{name} is no key that xl.cfg knows and is ignored{guess}")
        return
    check(setting, row)


def _explain(reading: Reading, settings: Iterable[Setting]) -> None:
    """One notice for each key that does not do what its writer hoped."""
    for setting in settings:
        overruled = setting.overruled
        # Overruling the file is what the command line is for.
        if overruled is not None and overruled.source is setting.chain[0].source:
            line, _ = overruled.source.place(overruled.start)
            where = f"{overruled.source.file}:{line}"
            reading.about(setting, f"{setting.key} is set again; its value at {where} does not count")
        row = KEYS.get(setting.key)
        if row is not None:
            _explain_row(reading, setting, row)


def _explain_row(reading: Reading, setting: Setting, row: Key) -> None:
    if row.instead:
        reading.about(setting, f"{row.name} is deprecated: use {row.instead}")
    if reading.type not in row.guests:
        guests = " and ".join(sorted(row.guests))
        reading.about(setting, f"{row.name} means something only to {guests} guests; this one is {reading.type}")
    elif not row.honoured:
        reading.about(setting, f"{row.name} is not honoured yet")
        if row.path:
            # It will be, one day, when nobody remembers the directory.
            reading.path(row.name)
    numbered = {Kind.STRING, Kind.NUMBER} <= set(row.kinds)
    if numbered and isinstance(setting.value, Text) and setting.value.value not in row.choices:
        choices = ", ".join(row.choices)
        reading.about(setting, f"{row.name} as a number is deprecated: use one of {choices}")


def _config(reading: Reading, source: Source) -> DomainConfig:
    settings = reading.settings
    memory, maxmem = _memory(reading, source)
    vcpus, maxvcpus = _vcpus(settings)
    kernel, firmware, firmware_path = _boot(reading, source)
    return DomainConfig(
        name=_name(settings, source),
        type=reading.type,
        memory_mib=memory,
        uuid=_uuid(settings),
        maxmem_mib=maxmem,
        vcpus=vcpus,
        maxvcpus=maxvcpus,
        kernel=kernel,
        ramdisk=reading.path("ramdisk"),
        cmdline=_cmdline(reading),
        firmware=firmware,
        firmware_path=firmware_path,
        boot=_boot_order(settings),
        disks=peripherals.disks(reading),
        vifs=peripherals.vifs(reading),
        smbios=peripherals.smbios(reading),
        on_poweroff=_action(settings, "on_poweroff", Action.DESTROY),
        on_reboot=_action(settings, "on_reboot", Action.RESTART),
        on_crash=_action(settings, "on_crash", Action.DESTROY),
        on_watchdog=_action(settings, "on_watchdog", Action.DESTROY),
        on_soft_reset=_action(settings, "on_soft_reset", Action.SOFT_RESET),
        cpu_weight=settings.number("cpu_weight"),
        cap=settings.number("cap"),
        period_us=settings.number("period"),
        budget_us=settings.number("budget"),
        extratime=bool(settings.number("extratime")),
        pool=settings.text("pool") or None,
        cpus=_cpus(settings, "cpus"),
        cpus_soft=_cpus(settings, "cpus_soft"),
        serial=peripherals.serial(reading),
        device_model_args=_device_model_args(reading),
        guest_agent=_flag(settings, "guest_agent"),
        cpu_model=_cpu_model(settings),
        free_page_reporting=_flag(settings, "free_page_reporting"),
        huge_pages=_huge_pages(settings),
        mem_merge=_flag(settings, "mem_merge"),
        qos=_qos(settings),
        disk_weight=settings.number("disk_weight"),
        network_weight=settings.number("network_weight"),
        memory_guarantee_mib=_guarantee(settings, maxmem or memory),
        hotplug_mib=_hotplug(settings),
    )


def name_fault(name: str) -> str | None:
    """Why ``name`` can't be a domain's, or ``None`` if it can.

    xl takes any string; wirt's ends up in paths and on command lines, and must not look like a domain id.
    """
    if not name:
        return "a domain's name can't be empty"
    if len(name) > LONGEST_NAME:
        return f"a domain's name has at most {LONGEST_NAME} characters"
    if name.isdigit():
        return "a domain's name can't be a number: it would be taken for a domain id"
    if name == "Domain-0":
        return "Domain-0 is the host itself"
    if name.startswith(("-", ".")):
        return "a domain's name can't start with - or ."
    bad = next((each for each in name if each in "/," or each.isspace() or not each.isprintable()), None)
    return f"a domain's name can't have {bad!a} in it" if bad else None


def _name(settings: Settings, source: Source) -> str:
    setting = settings.get("name")
    if setting is None:
        raise source.error(0, "the domain has no name", key="name", hint='add name = "..."')
    name = settings.text("name") or ""
    fault = name_fault(name)
    if fault:
        raise setting.error(fault)
    return name


def _type(reading: Reading) -> GuestType:
    """``type``, or the older ``builder``; without both, pv, as on x86 Xen."""
    settings = reading.settings
    named, builder = settings.text("type"), settings.get("builder")
    if builder is None:
        return GuestType(named) if named else GuestType.PV
    built = GuestType.HVM if settings.text("builder") == "hvm" else GuestType.PV
    if named and GuestType(named) is not built:
        raise builder.error(f"builder means {built}, but type is {named}", hint="leave builder out")
    return built


def _uuid(settings: Settings) -> UUID | None:
    setting = settings.get("uuid")
    text = settings.text("uuid")
    if setting is None or text is None:
        return None
    if not _UUID.fullmatch(text):
        hint = "as in 01234567-89ab-cdef-0123-456789abcdef"
        raise setting.error(f"{shown(text)} is no UUID", hint=hint)
    return UUID(text)


def _memory(reading: Reading, source: Source) -> tuple[int, int | None]:
    settings = reading.settings
    memory, maxmem = settings.number("memory"), settings.number("maxmem")
    if memory is None and maxmem is None:
        reading.notice(source, 0, f"memory is not set: the guest gets {DEFAULT_MEMORY_MIB} MiB", "memory")
    memory = memory or maxmem or DEFAULT_MEMORY_MIB
    setting = settings.get("maxmem")
    if setting is not None and maxmem is not None and maxmem < memory:
        raise setting.error(f"maxmem is {maxmem} MiB, less than memory with {memory} MiB")
    return memory, maxmem


def _hotplug(settings: Settings) -> int:
    setting, mib = settings.get("hotplug_memory"), settings.number("hotplug_memory") or 0
    if setting is not None and mib % PLUG_MIB:
        hint = f"hotplug_memory = {-(-mib // PLUG_MIB) * PLUG_MIB}"
        raise setting.error(
            f"memory is plugged in by {PLUG_MIB} MiB, and {mib} are no multiple of that", hint=hint
        )
    return mib


def _vcpus(settings: Settings) -> tuple[int, int | None]:
    vcpus, maxvcpus = settings.number("vcpus") or 1, settings.number("maxvcpus")
    setting = settings.get("maxvcpus")
    if setting is not None and maxvcpus is not None and maxvcpus < vcpus:
        raise setting.error(f"maxvcpus is {maxvcpus}, less than vcpus with {vcpus}")
    return vcpus, maxvcpus


def _boot(reading: Reading, source: Source) -> tuple[str | None, Firmware, str | None]:
    """Kernel, firmware, and the path of an own firmware."""
    settings = reading.settings
    if reading.type is GuestType.HVM:
        return (_hvm_kernel(reading), *_firmware(reading))
    firmware, kernel = settings.get("firmware"), reading.path("kernel")
    if firmware is not None:
        if kernel:
            raise firmware.error(f"a {reading.type} guest has either kernel or firmware, not both")
        if settings.text("firmware") not in _PVGRUB:
            raise firmware.error(f"the firmware of a {reading.type} guest is pvgrub32 or pvgrub64")
        reading.about(firmware, "pvgrub is not honoured yet")
    elif kernel is None and not settings.text("bootloader"):
        setting = settings.get("type") or settings.get("builder") or settings.get("name")
        message = f"a {reading.type} guest needs a kernel"
        hint = 'set kernel = "PATH", or type = "hvm" to boot from its disk'
        if setting is None:
            raise source.error(0, message, key="kernel", hint=hint)
        raise setting.value.source.error(setting.value.start, message, key="kernel", hint=hint)
    return kernel, Firmware.SEABIOS, None


def _hvm_kernel(reading: Reading) -> str | None:
    setting, named = reading.settings.get("kernel"), reading.settings.text("kernel") or ""
    if setting is not None and PurePosixPath(named).name == _HVMLOADER:
        reading.about(setting, "kernel names hvmloader, which is firmware and comes by itself; ignored")
        return None
    return reading.path("kernel")


def _firmware(reading: Reading) -> tuple[Firmware, str | None]:
    """``bios``, overruled by ``firmware``, which may also be the path of an image."""
    settings = reading.settings
    named = settings.text("firmware")
    setting = settings.get("firmware") if named else settings.get("bios")
    word = named or settings.text("bios") or "bios"
    if word in ("uefi", "ovmf"):
        return Firmware.OVMF, None
    if word == "rombios" and setting is not None:
        reading.about(setting, "rombios is Xen's own; on QEMU it is SeaBIOS")
    if word in ("bios", "seabios", "rombios"):
        return Firmware.SEABIOS, None
    base = settings.text("bios")
    return Firmware.OVMF if base == "ovmf" else Firmware.SEABIOS, reading.path("firmware")


def _boot_order(settings: Settings) -> str | None:
    setting, order = settings.get("boot"), settings.text("boot")
    if setting is None or not order:
        return None
    if not set(order) <= set("cdn") or len(set(order)) < len(order):
        hint = "c is a disk, d a CD, n the network: dc tries the CD first"
        raise setting.error(f"boot is some of the letters c, d and n, not {shown(order)}", hint=hint)
    return order


def _cmdline(reading: Reading) -> str:
    """``cmdline`` alone, or what ``root`` and ``extra`` make together."""
    settings = reading.settings
    cmdline, root, extra = (settings.text(key) for key in ("cmdline", "root", "extra"))
    if cmdline is None:
        return " ".join(part for part in (None if root is None else f"root={root}", extra) if part is not None)
    for key in ("root", "extra"):
        setting = settings.get(key)
        if setting is not None:
            reading.about(setting, f"{key} does not count, because cmdline is set")
    return cmdline


def _action(settings: Settings, key: str, default: Action) -> Action:
    text = settings.text(key)
    return default if text is None else Action(text)


def _flag(settings: Settings, key: str) -> bool | None:
    number = settings.number(key)
    return None if number is None else number != 0


def _huge_pages(settings: Settings) -> HugePages | None:
    text = settings.text("hugepages")
    return None if text is None else HugePages(text)


def _cpu_model(settings: Settings) -> str | None:
    """In one way of writing it. Whether a host has it is only known there."""
    setting, text = settings.get("cpu_model"), settings.text("cpu_model")
    if setting is None or not text:
        return None
    try:
        return str(parse_choice(text))
    except BadInput as error:
        raise setting.error(error.message, hint=error.hint) from error


def _qos(settings: Settings) -> str | None:
    """Whether a host has the class is only known there."""
    setting, name = settings.get("qos"), settings.text("qos")
    if setting is None or not name or name == NO_CLASS:
        return None
    fault = qos_name_fault(name)
    if fault is not None:
        raise setting.error(fault, hint=NAME_HINT)
    return name


def _guarantee(settings: Settings, most: int) -> int | None:
    setting, mib = settings.get("memory_guarantee"), settings.number("memory_guarantee")
    if setting is not None and mib is not None and mib > most:
        raise setting.error(f"memory_guarantee is {mib} MiB, and the guest can have {most} MiB at most")
    return mib


def _cpus(settings: Settings, key: str) -> str | tuple[str, ...] | None:
    """Kept as they are written; only their form is checked, since hosts differ."""
    setting = settings.get(key)
    if setting is None:
        return None
    for node in settings.nodes(key):
        terms = [term.strip() for term in node.value.split(",")]
        bad = next((term for term in terms if not CPU_TERM.fullmatch(term)), None)
        if bad is not None:
            raise setting.error(f"{shown(bad)} names no CPUs", hint=HINT, at=node)
    return settings.texts(key) if isinstance(setting.value, Items) else settings.text(key)


def _device_model_args(reading: Reading) -> tuple[str, ...]:
    own = "device_model_args_hvm" if reading.type is GuestType.HVM else "device_model_args_pv"
    return reading.settings.texts("device_model_args") + reading.settings.texts(own)
