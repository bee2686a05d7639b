"""The table of keys is whole, and its page and the parser agree with it."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from wirt.config.xlcfg import KEYS, Group, Kind, load, nearest, reference_markdown
from wirt.model.errors import ConfigError

from . import samples

# The keys of xl.cfg(5) (development branch of August 2026), in its order.
MANUAL = samples.words(
    """
name type builder pool vcpus maxvcpus cpus cpus_soft cpu_weight cap memory vnuma on_poweroff on_reboot
on_watchdog on_crash on_soft_reset kernel ramdisk cmdline root extra firmware pvshim pvshim_path pvshim_cmdline
pvshim_extra uuid seclabel init_seclabel max_grant_frames max_maptrack_frames max_grant_version nomigrate
driver_domain device_tree passthrough xend_suspend_evtchn_compat vmtrace_buf_kb vpmu xenstore_feature_mask
xenstore_quota disk vif vtpm p9 pvcalls vfb channel rdm usbctrl usbdev pci pci_permissive pci_msitranslate
pci_seize pci_power_mgmt gfx_passthru rdm_mem_boundary dtdev ioports iomem irqs max_event_channels vdispl
dm_restrict device_model_user vsnd vkb virtio tee bootloader bootloader_args bootloader_restrict
bootloader_user e820_host boot hdtype hap oos shadow_memory bios bios_path_override pae acpi acpi_s3 acpi_s4
acpi_laptop_slate apic nx hpet altp2m altp2mhvm altp2m_count nestedhvm cpuid acpi_firmware smbios_firmware
smbios ms_vm_genid tsc_mode localtime rtc_timeoffset vpt_align timer_mode mmio_hole xen_platform_pci
xen_platform_pci_bar_uc viridian hvm_pirq videoram stdvga vga vnc vnclisten vncdisplay vncunused vncpasswd
keymap sdl nographic spice spicehost spiceport spicetls_port spicedisable_ticketing spicepasswd
spiceagent_mouse spicevdagent spice_clipboard_sharing spiceusbredirection spice_image_compression
spice_streaming_video serial soundhw vkb_device usb usbversion usbdevice vendor_device device_model_version
device_model_override stubdomain_kernel stubdomain_cmdline stubdomain_ramdisk stubdomain_memory
device_model_stubdomain_override device_model_stubdomain_seclabel device_model_args device_model_args_pv
device_model_args_hvm gic_version vuart sve llc_colors nr_spis trap_unmapped_accesses arm_sci mca_caps
msr_relaxed
"""
)

HONOURED = samples.words(
    """
name type builder uuid memory vcpus maxvcpus cpu_weight kernel ramdisk cmdline root extra bios firmware boot disk
vif smbios on_poweroff on_reboot on_crash on_watchdog on_soft_reset serial device_model_args device_model_args_pv
device_model_args_hvm guest_agent cpu_model cap period budget extratime maxmem
cpus cpus_soft pool free_page_reporting hotplug_memory hugepages mem_merge qos memory_guarantee
disk_weight network_weight
"""
)

EXAMPLES = {
    Kind.STRING: '"x"',
    Kind.NUMBER: "1",
    Kind.BOOLEAN: "1",
    Kind.STRINGS: "['x']",
    Kind.NESTED: "[['x']]",
}
READ_BY_RULES = {"name", "type", "builder", "uuid", "disk", "vif", "smbios", "boot", "cpus", "cpus_soft", "maxmem"}


def test_every_key_of_the_manual_page_is_in_the_table() -> None:
    assert [name for name in MANUAL if name not in KEYS] == []


def test_the_table_says_what_qemu_honours_and_nothing_more() -> None:
    assert sorted(name for name, key in KEYS.items() if "qemu" in key.honoured) == sorted(HONOURED)


@pytest.mark.parametrize("name", KEYS)
def test_a_row_is_complete(name: str) -> None:
    key = KEYS[name]
    assert key.name == name
    assert key.help.endswith(".")
    assert key.kinds
    assert key.guests
    assert key.instead is None or key.instead in KEYS


@pytest.mark.parametrize("name", sorted(set(KEYS) - READ_BY_RULES))
def test_values_of_the_right_kind_are_taken_and_others_refused(name: str) -> None:
    key = KEYS[name]
    base = 'name="a"\ntype="hvm"\nmemory=128\n'
    for kind, example in EXAMPLES.items():
        value = example
        if kind is Kind.STRING and key.choices:
            value = f"'{key.choices[0]}'"
        if kind is Kind.STRINGS and key.choices:
            value = f"['{key.choices[0]}']"
        if kind is Kind.NUMBER and key.low is not None:
            value = f"'{key.low}'"
        # A number is written like any string, so a key for strings takes it.
        fits = kind in key.kinds or (kind is Kind.NUMBER and Kind.BOOLEAN in key.kinds)
        if kind in (Kind.NUMBER, Kind.BOOLEAN) and not fits:
            continue
        text = f"{base}{name} = {value}\n"
        if fits:
            load(text, file="f", cwd=PurePosixPath("/"))
        else:
            with pytest.raises(ConfigError) as caught:
                load(text, file="f", cwd=PurePosixPath("/"))
            assert (caught.value.key, caught.value.line) == (name, 4)


def test_every_key_is_on_the_reference_page() -> None:
    page = reference_markdown()
    assert all(f"\n## {group.value}\n" in page for group in Group)
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(KEYS)
    assert all(row.replace("\\|", "").count("|") == 7 for row in rows)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("memmory", "memory"), ("vif2s", "vif2"), ("on.crash", "on_crash"), ("qqqqq", None), ("k" * 41, None)],
)
def test_near_misses_are_guessed(typed: str, meant: str | None) -> None:
    assert nearest(typed) == meant
