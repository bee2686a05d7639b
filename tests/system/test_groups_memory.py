"""What a run may take of the host's memory, and pages that guests have alike, by the kernel itself: control groups
of version 2 and its KSM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB
from wirt.plan.host import Accelerator
from wirt.plan.jail import beside_mib
from wirt.plan.memory_limit import limit_for

from .guests import watch
from .host import Host, wait_until
from .on_kvm import PATIENT_S, a_kvm_host, counts, guest, up

pytestmark = [pytest.mark.testhost, pytest.mark.real, pytest.mark.root]

GUARANTEED, MOST = 128, 256
BESIDE = beside_mib(1, Accelerator.KVM)
ROOM = f"memory = {GUARANTEED}\nmaxmem = {MOST}"
KSM = Path("/sys/kernel/mm/ksm")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with a_kvm_host(tmp_path) as host:
        yield host


def limit(place: Path) -> int:
    """In MiB."""
    return int((place / "memory.max").read_text()) // MIB


def until_limit(place: Path, mib: int) -> None:
    wait_until(lambda: limit(place) == mib, PATIENT_S, f"the limit to be {mib} MiB")


def test_the_limit_follows_the_balloon_and_an_honest_guest_never_meets_it(host: Host, tiny: TinyImage) -> None:
    place = guest(host, tiny, "web", ROOM, paused=True)
    assert limit(place) == MOST + BESIDE
    host.ok("unpause", "web")
    up(host, "web")
    until_limit(place, limit_for(GUARANTEED, MOST, BESIDE))
    host.ok("mem-set", "web", "200")
    assert limit(place) == limit_for(200, MOST, BESIDE), "raised before the guest took it"
    host.ok("mem-set", "web", f"{MOST}")
    assert limit(place) == MOST + BESIDE
    host.ok("mem-set", "web", f"{GUARANTEED}")
    until_limit(place, limit_for(GUARANTEED, MOST, BESIDE))
    assert counts(place, "memory.events")["max"] == 0
    host.ok("destroy", "web")
    assert not place.exists()


def test_a_guest_that_lets_go_of_its_balloon_and_takes_the_memory_is_ended_and_it_is_said_why(
    host: Host, tiny: TinyImage
) -> None:
    place = guest(host, tiny, "web", f'{ROOM}\non_crash = "destroy"')
    up(host, "web")
    until_limit(place, limit_for(GUARANTEED, MOST, BESIDE))
    with watch(host, "web") as console:
        console.does(
            "cd /sys/bus/virtio/drivers/virtio_balloon; for d in virtio*; do echo $d > unbind; done",
            "mkdir /fill; mount -t tmpfs -o size=100% none /fill",
        )
    until_limit(place, MOST + BESIDE)
    wait_until(lambda: limit(place) < MOST + BESIDE, PATIENT_S, "its grace to be over")
    assert "a guest does not keep to its memory" in host.log.read_text()
    at = limit(place)
    with watch(host, "web") as console:
        console.type("dd if=/dev/zero of=/fill/all bs=1M\n")
        wait_until(lambda: "web" not in host.names(), PATIENT_S, "the kernel to end it")
    assert f"it wanted more than the {at} MiB that it may take of the host, whose kernel ended it" in (
        host.log.read_text()
    )
    assert not place.exists()


def merged(host: Host) -> int:
    found = host.json("memory", "plan")["merged"]
    return 0 if found is None else int(found)


def test_pages_of_two_guests_are_merged_while_that_is_on_and_parted_when_it_is_turned_off(
    tmp_path: Path, tiny: TinyImage
) -> None:
    with a_kvm_host(tmp_path, 'ksm = "on"\nksm-pages = "2000"\nksm-sleep-ms = "50"\n') as host:
        for name in ("web", "mail"):
            guest(host, tiny, name)
        for name in ("web", "mail"):
            up(host, name)
        assert (KSM / "run").read_text().strip() == "1"
        wait_until(lambda: merged(host) >= 32, PATIENT_S, "KSM to find what they have alike")
        pages = int((KSM / "pages_sharing").read_text())
        assert 0 < merged(host) <= pages * 4096 // MIB + 64

        assert host.stop() == 0
        (tmp_path / "home/wirt.toml").write_text("")
        host.start()
        wait_until(lambda: int((KSM / "pages_sharing").read_text()) == 0, PATIENT_S, "them to be parted")
        assert (KSM / "run").read_text().strip() == "2"
        assert merged(host) == 0
        assert "KSM is off for guests" in host.ok("info").out
        assert {host.domain(name)["state"] for name in ("web", "mail")} == {"running"}
