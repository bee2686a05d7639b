"""What clones are to be: names, addresses and texts, whatever the source looks like."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config.xlcfg import disk_entry, entries, load, own_card, with_entries
from wirt.config.xlcfg.disk import parse_disk
from wirt.config.xlcfg.vif import parse_vif
from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, NameInUse
from wirt.model.storage import VolumeRef, check_volume_name
from wirt.plan.clones import CloneWish, Taken, clone_names, macs_of, plan_clones, volume_name
from wirt.plan.nics import generated_mac
from wirt.plan.nocloud import check_user_data, hostname, seed_files

ROOT = PurePosixPath("/")
TEXT = """\
# Frontend, as Ann left it
name = "web"  # the first
type = "{type}"
kernel = "/boot/vmlinuz"
memory = 128
vif = [
    # inside
    "mac=00:16:3e:00:00:11,bridge=br0",
    'net=user,forward=tcp:8080:80',
]
disk = [ 'pool:default/web,qcow2,xvda,rw',  # root
         "pool:fast/data,raw,xvdb,w", ]
disk += [ "/srv/tools.iso,raw,xvdc,ro" ]
"""


def domain(text: str = TEXT.format(type="pvh"), uuid: int = 1) -> Domain:
    return Domain(UUID(int=uuid), load(text, file="web.cfg", cwd=ROOT).config, text, persistent=True)


def uuids(seed: int = 1) -> Iterator[UUID]:
    source = random.Random(seed)
    while True:
        yield UUID(int=source.getrandbits(128), version=4)


def test_a_clone_is_its_source_but_for_what_must_differ() -> None:
    (plan,) = plan_clones(domain(), CloneWish(("db",)), Taken(), uuids())
    assert (
        plan.text
        == f"""\
# Frontend, as Ann left it
name = "db"  # the first
type = "pvh"
kernel = "/boot/vmlinuz"
memory = 128
vif = [
    # inside
    "bridge=br0",
    "net=user,forward=tcp:80",
]
disk = [ "vdev=xvda,target=pool:default/db",  # root
         "vdev=xvdb,target=pool:default/db-xvdb", ]
disk += [ "/srv/tools.iso,raw,xvdc,ro" ]
uuid = "{plan.uuid}"
disk += ["vdev=xvdz,access=ro,target=pool:default/db-seed"]
""".replace("default/db-xvdb", "fast/db-xvdb")
    )
    assert [(str(disk.source), str(disk.target)) for disk in plan.disks] == [
        ("default/web", "default/db"),
        ("fast/data", "fast/db-xvdb"),
    ]
    assert plan.lost == ("forward=tcp:8080:80",)


def test_without_identity_there_is_no_seed_and_with_a_pool_all_goes_there() -> None:
    (plan,) = plan_clones(domain(), CloneWish(("db",), pool="vg", identity=False), Taken(), uuids())
    assert plan.seed is None
    assert {disk.target.pool for disk in plan.disks} == {"vg"}
    assert "seed" not in plan.text


def test_a_guest_with_firmware_gets_its_seed_as_a_cd_as_long_as_it_can_have_one() -> None:
    text = 'name = "web"\ntype = "hvm"\nmemory = 128\n'
    for disks, expected in (
        ("pool:default/web,,hda,rw", "vdev=hdd,devtype=cdrom,target=pool:default/db-seed"),
        ("pool:default/web,,hdd,rw", "vdev=hdc,devtype=cdrom,target=pool:default/db-seed"),
    ):
        (plan,) = plan_clones(domain(f'{text}disk = ["{disks}"]\n'), CloneWish(("db",)), Taken(), uuids())
        assert entries(plan.text, "disk")[1] == expected
    many = ",".join(f'"pool:default/web{number},,sd{letter},rw"' for number, letter in enumerate("abcdef"))
    (plan,) = plan_clones(domain(f"{text}disk = [{many}]\n"), CloneWish(("db",)), Taken(), uuids())
    assert entries(plan.text, "disk")[-1] == "vdev=xvdz,access=ro,target=pool:default/db-seed"


def test_the_clone_of_a_clone_has_one_seed() -> None:
    (first,) = plan_clones(domain(), CloneWish(("db",)), Taken(), uuids())
    (second,) = plan_clones(domain(first.text), CloneWish(("third",)), Taken(), uuids(2))
    assert [entry for entry in entries(second.text, "disk") if "seed" in entry] == [
        "vdev=xvdz,access=ro,target=pool:default/third-seed"
    ]
    assert VolumeRef("default", "db-seed") not in [disk.source for disk in second.disks]


def test_no_clone_gets_an_address_that_somebody_has() -> None:
    wish = CloneWish(clone_names("db", 40), identity=False)
    first = next(uuids())
    other = replace(domain(uuid=2), config=replace(domain().config, name="other", vifs=()))
    clash = load(f'name="x"\ntype="hvm"\nvif=["mac={generated_mac(first, 1)}"]', file="x", cwd=ROOT).config
    there = [domain(), replace(other, config=clash)]
    plans = plan_clones(domain(), wish, Taken.by(there), uuids())
    assert first not in [plan.uuid for plan in plans]
    configs = [(load(plan.text, file="x", cwd=ROOT).config, plan.uuid) for plan in plans]
    macs = [mac for config, uuid in configs for mac in macs_of(config, uuid)]
    theirs = [mac for each in there for mac in macs_of(each.config, each.uuid)]
    assert len(set(macs + theirs)) == len(macs) + len(theirs) == 83


def test_when_all_addresses_are_taken_that_is_said() -> None:
    taken = Taken({generated_mac(UUID(int=7), 0)})
    with pytest.raises(IllegalState, match="no MAC addresses are left"):
        plan_clones(domain(), CloneWish(("db",)), taken, itertools.repeat(UUID(int=7)))


def test_a_disk_that_is_no_volume_is_refused_unless_it_is_only_read() -> None:
    text = TEXT.format(type="pvh") + 'disk += ["/dev/sdb,raw,xvdd,rw"]\n'
    with pytest.raises(IllegalState, match="xvdd of web is /dev/sdb") as caught:
        plan_clones(domain(text), CloneWish(("db",)), Taken(), uuids())
    assert "wirt volume import" in str(caught.value.hint)


def test_names_are_numbered_only_when_a_count_is_given() -> None:
    assert clone_names("web", None) == ("web",)
    assert clone_names("web", 1) == ("web-1",)
    assert clone_names("web2", 3) == ("web2-1", "web2-2", "web2-3")
    for count in (0, -1, 201):
        with pytest.raises(BadInput, match="can't be made at once"):
            clone_names("web", count)
    with pytest.raises(BadInput):
        clone_names("a\nb", 2)


def test_two_volumes_of_one_name_are_refused() -> None:
    with pytest.raises(NameInUse):
        plan_clones(domain(), CloneWish(("a@b", "a%b")), Taken(), uuids())


@given(st.text(min_size=1, max_size=200), st.sampled_from(["", "-seed", "-xvdaa"]))
def test_any_name_gives_a_volume_name(name: str, suffix: str) -> None:
    made = volume_name(name, suffix)
    check_volume_name(made)
    assert made.endswith(suffix)


@given(st.text(max_size=200))
def test_any_name_gives_a_host_name(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", hostname(name))


WORDS = st.text("abcxyz0123456789._-/", min_size=1, max_size=12)
DISKS = st.builds(
    DiskSpec,
    vdev=st.sampled_from(["xvda", "hdb", "sdc", "vdd", "d5p2"]),
    target=st.text("abc=, ./", min_size=1, max_size=12).map(lambda text: f"/{text}"),
    format=st.sampled_from([DiskFormat.RAW, DiskFormat.QCOW2, DiskFormat.VHD]),
    writable=st.booleans(),
    backend=st.sampled_from(["0", "storage"]),
    direct_io_safe=st.booleans(),
    discard=st.booleans(),
    trusted=st.booleans(),
    grant_usage=st.sampled_from([None, True, False]),
    specification=st.sampled_from([None, "xen", "virtio"]),
    transport=st.sampled_from([None, "mmio", "pci"]),
    colo=st.sampled_from([(), (("colo", "1"), ("colo-host", "far"), ("colo-port", "9"))]),
    format_given=st.just(True),
)


@given(DISKS, st.booleans())
def test_a_disk_that_is_written_down_is_read_as_the_same(disk: DiskSpec, cdrom: bool) -> None:
    if cdrom:
        disk = replace(disk, cdrom=True, writable=False, removable=True)
    assert parse_disk(disk_entry(disk), ROOT).disk == disk


PARAMETERS = st.sampled_from(
    [
        "mac=00:16:3e:01:02:03",
        "ip=192.0.2.1",
        "vifname=web0",
        "net=user",
        "model=e1000",
        "devid=3",
        "trusted",
        "forward=tcp:8080:80",
        "forward=udp:53",
        "antispoof=1",
        "rate=1Mb/s",
    ]
)


@given(st.lists(PARAMETERS, max_size=6, unique=True))
def test_a_card_of_its_own_differs_only_where_cards_must(words: list[str]) -> None:
    entry = ",".join(words)
    before, after = parse_vif(entry).vif, parse_vif(own_card(entry)[0]).vif
    forwards = tuple(replace(each, host_port=0) for each in before.forwards)
    assert after == replace(before, mac=None, ip=(), vifname=None, forwards=forwards)


@given(st.lists(st.text("abc \"'\\\n\t", max_size=6), min_size=1, max_size=5), st.data())
def test_entries_are_replaced_where_they_stand(items: list[str], data: st.DataObject) -> None:
    text = "# first\n" + with_entries("", "vif", {}, items) + "# last\nname = 'web'\n"
    changed = data.draw(st.dictionaries(st.integers(0, len(items) - 1), st.text("xyz\"'", max_size=4)))
    more = data.draw(st.lists(st.text("uvw", max_size=3), max_size=2))
    after = with_entries(text, "vif", changed, more)
    assert entries(after, "vif") == (*(changed.get(place, item) for place, item in enumerate(items)), *more)
    assert after.startswith("# first\n")
    assert "# last\nname = 'web'\n" in after


def test_a_seed_says_who_the_guest_is_and_keeps_what_the_person_wrote() -> None:
    files = seed_files("Web 1", UUID(int=5), ["ssh-ed25519 AAAA ann"], "#!/bin/sh\necho hello\n")
    meta = json.loads(files["meta-data"])
    assert meta == {
        "instance-id": "wirt-00000000-0000-0000-0000-000000000005",
        "local-hostname": "web-1",
        "public-keys": ["ssh-ed25519 AAAA ann"],
    }
    assert files["user-data"] == b"#!/bin/sh\necho hello\n"
    for word in (b"machine-id", b"ssh_deletekeys: true", b"cloud-init-per instance"):
        assert word in files["vendor-data"]
    assert b"public-keys" not in seed_files("web", UUID(int=5), [], None)["meta-data"]


def test_user_data_that_cloud_init_would_pass_over_is_refused() -> None:
    check_user_data("#cloud-config\npackages: [nginx]\n")
    for text in ("", "packages: [nginx]\n", "\n#cloud-config\n"):
        with pytest.raises(BadInput, match="is no user data"):
            check_user_data(text)
    with pytest.raises(BadInput, match="at most 256 KiB"):
        check_user_data("#" * (256 * 1024 + 1))
