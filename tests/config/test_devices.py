"""Specifications of disks and network cards (xl-disk-configuration(5), xl-network-configuration(5))."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from wirt.config.xlcfg import load
from wirt.config.xlcfg.disk import parse_disk
from wirt.config.xlcfg.spec import SpecError
from wirt.config.xlcfg.vdev import Bus, Vdev, parse_vdev
from wirt.config.xlcfg.vif import MODELS, parse_vif
from wirt.model.devices import DiskBackend, DiskFormat, DiskSpec, NicType, PortForward, Rate, VifKind
from wirt.model.engine import Aio, CacheMode, DetectZeroes, IoThread

CWD = PurePosixPath("/srv")


def disk(spec: str) -> DiskSpec:
    return parse_disk(spec, CWD).disk


def test_the_manuals_equal_disks_are_equal() -> None:
    assert (
        len(
            {
                disk(spec)
                for spec in (
                    "/dev/vg/guest-volume,,hda",
                    "/dev/vg/guest-volume,raw,hda,rw",
                    "format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume",
                    "raw:/dev/vg/guest-volume,hda,w",
                )
            }
        )
        == 1
    )
    assert (
        len(
            {
                disk(spec)
                for spec in (
                    "/root/image.iso,,hdc,cdrom",
                    "/root/image.iso,,hdc,,cdrom",
                    "/root/image.iso,raw,hdc,devtype=cdrom",
                    "format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso",
                    "raw:/root/image.iso,hdc:cdrom,ro",
                )
            }
        )
        == 1
    )


def test_how_a_disk_is_served_can_be_said() -> None:
    said = disk("/a,,xvda,cache=directsync,aio=native,detect-zeroes=on,iothread=shared,queues=4,discard")
    assert (said.cache, said.aio, said.detect_zeroes) == (CacheMode.DIRECTSYNC, Aio.NATIVE, DetectZeroes.ON)
    assert (said.iothread, said.queues, said.discard, said.discard_given) == (IoThread.SHARED, 4, True, True)
    silent = disk("/a,,xvda")
    assert (silent.cache, silent.aio, silent.detect_zeroes, silent.iothread, silent.queues) == (None,) * 5
    assert not silent.discard_given


def test_a_bad_number_of_queues_is_told_the_range() -> None:
    with pytest.raises(SpecError, match="queues= is a number from 1 to 64, not 65"):
        disk("/a,,xvda,queues=65")


def test_an_empty_drive() -> None:
    for spec in (",hdc:cdrom,r", ",,hdc,cdrom", "vdev=hdc,cdrom", "devtype=cdrom,vdev=hdc,target="):
        assert disk(spec) == DiskSpec("hdc", format=DiskFormat.EMPTY, writable=False, cdrom=True, removable=True)


def test_every_parameter_of_a_disk() -> None:
    assert disk(
        "vdev=xvda,format=qcow2,access=ro,backend=store,backendtype=qdisk,direct-io-safe,no-discard,untrusted,"
        "grant_usage=1,specification=virtio,transport=mmio,colo,colo-host=h,colo-port=9,colo-export=e,"
        "active-disk=/a,hidden-disk=/h,target=/t,=:x "
    ) == DiskSpec(
        vdev="xvda", target="/t,=:x ", format=DiskFormat.QCOW2, writable=False, backend="store",
        backend_type=DiskBackend.QDISK, direct_io_safe=True, discard=False, trusted=False, grant_usage=True,
        colo=(("colo", "1"), ("colo-host", "h"), ("colo-port", "9"), ("colo-export", "e"),
              ("active-disk", "/a"), ("hidden-disk", "/h")),
        specification="virtio", transport="mmio",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "target", "stored"),
    [
        ("a.img,raw,xvda", "/srv/a.img", "/srv/a.img,raw,xvda"),
        ("  sub/a.img ,raw, xvda", "/srv/sub/a.img ", "  /srv/sub/a.img ,raw, xvda"),
        ("vdev=xvda,target=a,b", "/srv/a,b", "vdev=xvda,target=/srv/a,b"),
        ("file:a.img,xvda,w", "/srv/a.img", "file:/srv/a.img,xvda,w"),
        ("phy:vg/root,xvda,w", "/dev/vg/root", "phy:/dev/vg/root,xvda,w"),
        ("xvd,script=block-x,vdev=xvda", "xvd", "xvd,script=block-x,vdev=xvda"),
        ("nbd:host:9,xvda,r", "host:9", "nbd:host:9,xvda,r"),
        ("vdev=xvda,target=nbd://h/x", "nbd://h/x", "vdev=xvda,target=nbd://h/x"),
        ("pool:image,raw,xvda", "/srv/pool:image", "/srv/pool:image,raw,xvda"),
    ],
)
def test_relative_targets_start_where_the_file_was_loaded(spec: str, target: str, stored: str) -> None:
    parsed = parse_disk(spec, CWD)
    assert (parsed.disk.target, parsed.spec) == (target, stored)


@pytest.mark.parametrize(
    "spec", ["a,raw,xvda", "vdev=xvda,a", "a,raw,xvda,", "file:a,xvda,w", "vdev=xvda,target=a"]
)
def test_a_directory_with_commas_is_stored_so_that_it_is_read_back(spec: str) -> None:
    odd = PurePosixPath("/x,y=z")
    parsed = parse_disk(spec, odd)
    assert parsed.disk.target == "/x,y=z/a"
    again = parse_disk(parsed.spec, CWD)
    assert (again.disk, again.spec) == (parsed.disk, parsed.spec)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("/a,raw,xvda", []),
        ("phy:/a,xvda,w", ["the prefix phy: is deprecated and means nothing"]),
        ("qcow2:/a,xvda,w", ["the prefix qcow2: is deprecated: write format=qcow2"]),
        ("drbd:r0,xvda,w", ["the prefix drbd: is deprecated: write script=block-drbd"]),
        ("/a,raw,hdc:cdrom", [":cdrom is deprecated: write devtype=cdrom"]),
    ],
)
def test_deprecated_forms_of_disks_are_named(spec: str, said: list[str]) -> None:
    assert [remark.message for remark in parse_disk(spec, CWD).remarks] == said


@pytest.mark.parametrize(
    ("spec", "offset"),
    [
        ("/a,tar,xvda", 3),
        ("/a,raw", 0),
        ("/a,raw,xvdaa1x", 7),
        ("/a,raw,sda,rx", 11),
        ("/a,raw,sda,r,extra", 13),
        ("/a,raw,sda,r,", -1),
        ("foo:/a,sda,r", 0),
        ("/a,raw,sda, foo=1", 12),
        ("/a,raw,sda,backendtype=nfs", 23),
        ("/a,raw,sda,target=/b", 18),
        ("/a,raw,sda,format=qcow2", 18),
        ("/a,raw,sda,vdev=sdb", 16),
        ("/a,raw,sda,script=x,script=x", 27),
        ("/a,raw,sda\n", 10),
        ("raw,sda", 4),
        ("vdev=xvda,foo:", 10),
        ("vdev=xvda,foo:,raw", 10),
        ("/a,,xvda,cache=fast", 15),
        ("/a,,xvda,aio=", 13),
        ("/a,,xvda,detect-zeroes=yes", 23),
        ("/a,,xvda,iothread=2", 18),
        ("/a,,xvda,queues=0", 16),
        ("/a,,xvda,queues=65", 16),
        ("/a,,xvda,queues=two", 16),
        ("/a,,xvda,aio=native,cache=writeback", 13),
        ("/a,,xvda,no-discard,detect-zeroes=unmap", 34),
    ],
)
def test_a_bad_disk_is_refused_at_its_parameter(spec: str, offset: int) -> None:
    if offset < 0:
        assert disk(spec).vdev == "sda"
        return
    with pytest.raises(SpecError) as caught:
        disk(spec)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("name", "vdev"),
    [
        ("xvda", Vdev(Bus.XVD, 0)),
        ("xvdb2", Vdev(Bus.XVD, 1, 2)),
        ("xvdtq37", Vdev(Bus.XVD, 536, 37)),
        ("d536p37", Vdev(Bus.XVD, 536, 37)),
        ("d0", Vdev(Bus.XVD, 0)),
        ("d0p0", Vdev(Bus.XVD, 0)),
        ("vdc", Vdev(Bus.XVD, 2)),
        ("sdp15", Vdev(Bus.SD, 15, 15)),
        ("hdd63", Vdev(Bus.HD, 3, 63)),
        ("51712", Vdev(Bus.XVD, 0)),
        ("0xca10", Vdev(Bus.XVD, 1)),
        ("768", Vdev(Bus.HD, 0)),
        ("0x1640", Vdev(Bus.HD, 3)),
        ("2049", Vdev(Bus.SD, 0, 1)),
        ("268439552", Vdev(Bus.XVD, 16)),
        *((name, None) for name in ("", "xvd", "xvda0", "xvda01", "xvda256", "hde", "sdq", "sda16", "hda64")),
        *((name, None) for name in ("d0p256", "dp0", "1", "0", "08", "fda", "XVDA", "xvda ", "x" * 99)),
    ],
)
def test_names_of_virtual_disks(name: str, vdev: Vdev | None) -> None:
    assert parse_vdev(name) == vdev


def test_every_parameter_of_a_network_card() -> None:
    vif = parse_vif(
        "mac=0:16:3E:0:0:1, bridge=xenbr0,type=vif,model=virtio-net,vifname=web0,script=vif-nat,"
        "ip=192.0.2.7 10.0.0.1/8 2001:db8::1/64,gatewaydev=eth0,backend=net,rate=1MB/s@20ms,mtu=9000,"
        "vlan=10p/100+10x4,devid=3,untrusted"
    ).vif
    assert (vif.mac, vif.bridge, vif.kind) == ("00:16:3e:00:00:01", "xenbr0", VifKind.BRIDGE)
    assert (vif.type, vif.model, vif.vifname) == (NicType.VIF, "virtio-net", "web0")
    assert vif.ip == ("192.0.2.7", "10.0.0.1/8", "2001:db8::1/64")
    assert (vif.script, vif.gatewaydev, vif.backend) == ("vif-nat", "eth0", "net")
    assert (vif.rate, vif.mtu, vif.vlan) == (Rate(1_000_000, 20_000), 9000, "10p/100+10x4")
    assert (vif.devid, vif.trusted) == (3, False)


def test_filters_and_limits_of_a_card() -> None:
    vif = parse_vif("network=lan,groups= web  ssh web,antispoof=0,rate=10Mb/s@50ms,rate-in=1MB/s").vif
    assert (vif.network, vif.kind, vif.bridge) == ("lan", VifKind.BRIDGE, None)
    assert (vif.groups, vif.antispoof) == (("web", "ssh"), False)
    assert (vif.rate, vif.rate_in) == (Rate(1_250_000, 50_000), Rate(1_000_000))


def test_a_card_may_not_lie_unless_it_is_said() -> None:
    assert parse_vif("").vif.antispoof
    assert parse_vif("antispoof=1").vif.antispoof


def test_an_empty_card_takes_all_defaults() -> None:
    assert parse_vif("") == parse_vif(" ,, ")
    assert parse_vif("").vif.kind is None


def test_user_networking_and_forwards() -> None:
    vif = parse_vif("net=user,forward=tcp:2222:22,forward=udp:53").vif
    assert vif.kind is VifKind.USER
    assert vif.forwards == (PortForward("tcp", 22, 2222), PortForward("udp", 53, 0))


@pytest.mark.parametrize("model", ["e1000", "rtl8139", "virtio-net", "vmxnet3"])
def test_known_models(model: str) -> None:
    assert model in MODELS
    assert parse_vif(f"model={model}").vif.model == model


@pytest.mark.parametrize("vlan", ["1", "4094", "10p", "10p/20", "10p/20u", "1p/100-110", "5p/10-20u/7+3x2u"])
def test_vlans(vlan: str) -> None:
    assert parse_vif(f"vlan={vlan}").vif.vlan == vlan


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("netdev=eth0", "netdev= is deprecated: write gatewaydev="),
        ("accel=x", "accel= is not supported, here or by xl"),
        ("forwarddev=eth1", "forwarddev= belongs to COLO and is not honoured"),
        ("colo_sock_mirror_id=1", "colo_sock_mirror_id= belongs to COLO and is not honoured"),
        ("net=user,rate=1MB/s", "rate= has no effect with net=user, only on a bridge"),
        ("net=user,rate-in=1MB/s", "rate-in= has no effect with net=user, only on a bridge"),
        ("mtu=1500,mtu=1400", "mtu= is given twice; the last one counts"),
        ("bridge=br0,forward=tcp:22", "forward= has no effect on a bridge, where the guest is reachable"),
    ],
)
def test_what_a_card_does_not_do_is_named(spec: str, said: str) -> None:
    assert [remark.message for remark in parse_vif(spec).remarks] == [said]


@pytest.mark.parametrize(
    ("spec", "offset"),
    [
        ("mac=00:16:3e:00:00", 4),
        ("mac=01:16:3e:00:00:01", 4),
        ("mac=00:00:00:00:00:00", 4),
        ("bridge=", 7),
        ("bridge=a b", 7),
        ("vifname=sixteen-letters-", 8),
        ("type=tap", 5),
        ("model=e100", 6),
        ("ip=1.2.3", 3),
        ("ip=1.2.3.4 x", 3),
        ("rate=fast", 5),
        ("rate=1MB/s@", 11),
        ("rate=0B/s", 5),
        ("mtu=67", 4),
        ("devid=-1", 6),
        ("vlan=0", 5),
        ("vlan=10/20", 5),
        ("vlan=10p/20p", 5),
        ("vlan=20-10", 5),
        ("vlan=10-20p", 5),
        ("vlan=1p/4000+50x3", 5),
        ("forward=22", 8),
        ("forward=icmp:1", 8),
        ("forward=tcp:0", 8),
        ("forward=tcp:1:65536", 8),
        ("net=nat", 4),
        ("bridge=br0,network=lan", 11),
        ("net=user,network=lan", 9),
        ("network=", 8),
        ("network=a b", 8),
        ("groups=", 7),
        ("groups=web -x", 7),
        ("net=user,groups=web", 9),
        ("antispoof=2", 10),
        ("antispoof=no", 10),
        ("rate-in=fast", 8),
        ("net=user, bridge=br0", 10),
        ("net=none,forward=tcp:1", 9),
        ("bogus", 0),
        ("bridge", 0),
        ("mac=00:16:3e:00:00:01, brige=x", 23),
    ],
)
def test_a_bad_card_is_refused_at_its_parameter(spec: str, offset: int) -> None:
    with pytest.raises(SpecError) as caught:
        parse_vif(spec)
    assert caught.value.offset == offset


def test_what_is_understood_and_not_acted_on_is_named() -> None:
    text = (
        'name="a"\ntype="hvm"\nmemory=64\nsmbios=["oem=x", "bios_vendor=y"]\n'
        'vif=["backend=net,script=vif-x"]\ndisk=["/a,raw,xvda,w,script=block-x"]\n'
    )
    told = [notice.message for notice in load(text, file="a.cfg", cwd=PurePosixPath("/")).notices]
    for part in ("backend=", "script=", "bios_vendor="):
        assert any(message.startswith(f"{part} is not honoured yet") for message in told), told
