"""What a domain says itself comes before what its class says, and a class laid on twice is as once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from wirt.config.qos import read_class
from wirt.config.xlcfg.diskqos import read_words
from wirt.model.devices import DiskSpec, Rate, VifSpec
from wirt.model.diskqos import DiskQos, in_force
from wirt.model.domain import DomainConfig, GuestType
from wirt.model.qos import QosClass
from wirt.plan.qos import Held, Origin, effective, guaranteed_mib, held, remarks

GOLD = read_class(
    "gold",
    {
        "weight": "512",
        "disk-weight": "200",
        "network-weight": "300",
        "cap": "150",
        "memory-guarantee": "300",
        "iops": "500",
        "bps": "10M",
        "rate": "8Mb/s",
        "rate-in": "16Mb/s",
    },
)
XVDA, XVDB = DiskSpec("xvda", "/a"), DiskSpec("xvdb", "/b")
WEB = DomainConfig("web", GuestType.PVH, 128, maxmem_mib=512, vcpus=2, disks=(XVDA, XVDB), vifs=(VifSpec(),))


def of_disk(words: str) -> DiskQos:
    return read_words(dict(word.split("=", 1) for word in words.split()))


def limits(config: DomainConfig) -> dict[str, DiskQos]:
    return in_force((disk.vdev, disk.qos) for disk in config.disks)


def test_who_says_nothing_has_what_the_class_says() -> None:
    found = effective(WEB, GOLD)
    assert (found.cpu_weight, found.cap, guaranteed_mib(found)) == (512, 150, 300)
    assert limits(found) == dict.fromkeys(("xvda", "xvdb"), GOLD.disk)
    assert (found.vifs[0].rate, found.vifs[0].rate_in) == (Rate(1_000_000), Rate(2_000_000))
    assert effective(WEB, None) == WEB and guaranteed_mib(WEB) == 128


def test_a_disks_own_requests_leave_it_the_bytes_of_the_class() -> None:
    own = replace(WEB, disks=(replace(XVDA, qos=of_disk("iops-read=7 iops-read-burst=9 burst-seconds=3")), XVDB))
    found = limits(effective(own, GOLD))
    assert found["xvda"] == of_disk("iops-read=7 iops-read-burst=9 burst-seconds=3 bps=10M")
    assert found["xvdb"] == GOLD.disk


def test_what_a_group_says_is_said_by_each_of_its_disks() -> None:
    shared = replace(
        WEB, disks=(replace(XVDA, qos=of_disk("iops=7 qos-group=g")), replace(XVDB, qos=DiskQos(group="g")))
    )
    assert limits(effective(shared, GOLD)) == dict.fromkeys(
        ("xvda", "xvdb"), of_disk("iops=7 bps=10M qos-group=g")
    )


def test_what_a_domain_is_too_small_for_is_told() -> None:
    small = replace(WEB, vcpus=1, maxmem_mib=200)
    found = effective(small, GOLD)
    assert (found.cap, found.memory_guarantee_mib) == (100, 200)
    assert [text.split(" ")[0] for text in remarks(small, GOLD)] == ["a", "class"]
    assert remarks(WEB, GOLD) == ()
    assert remarks(replace(small, cap=0, memory_guarantee_mib=1), GOLD) == ()


def test_a_cd_is_not_limited() -> None:
    cd = DiskSpec("hdc", "/c.iso", cdrom=True)
    assert effective(replace(WEB, disks=(cd,)), GOLD).disks == (cd,)


def test_it_is_said_where_each_comes_from() -> None:
    config = replace(
        WEB, cap=0, disks=(replace(XVDA, qos=of_disk("iops=7")),), vifs=(VifSpec(rate=Rate(1000), devid=4),)
    )
    assert held(config, GOLD) == (
        Held("weight", "512", Origin.CLASS),
        Held("cap", "0", Origin.OWN),
        Held("disk-weight", "200", Origin.CLASS),
        Held("network-weight", "300", Origin.CLASS),
        Held("memory-guarantee", "300", Origin.CLASS),
        Held("disk xvda iops", "7", Origin.OWN),
        Held("disk xvda bps", str(10 * 1024**2), Origin.CLASS),
        Held("card 4 rate", "8Kb/s", Origin.OWN),
        Held("card 4 rate-in", "16Mb/s", Origin.CLASS),
    )
    assert held(replace(WEB, disks=(), vifs=()), None) == (
        Held("weight", "256", Origin.UNASKED),
        Held("cap", "0", Origin.UNASKED),
        Held("disk-weight", "100", Origin.UNASKED),
        Held("network-weight", "100", Origin.UNASKED),
        Held("memory-guarantee", "128", Origin.UNASKED),
    )


numbers = st.none() | st.integers(1, 1000)
disk_limits = st.sampled_from(
    ["", "iops=5", "bps=1M", "iops-read=5 bps-write=1M", "iops=5 iops-burst=6 burst-seconds=7"]
).map(of_disk)
rates = st.none() | st.sampled_from([Rate(1000), Rate(5000, 20_000)])
classes = st.builds(
    QosClass,
    name=st.just("gold"),
    weight=numbers,
    cap=numbers,
    disk_weight=numbers,
    network_weight=numbers,
    disk=disk_limits,
    rate=rates,
    rate_in=rates,
    guarantee_mib=numbers,
)
configs = st.builds(
    DomainConfig,
    name=st.just("web"),
    type=st.just(GuestType.PVH),
    memory_mib=st.just(128),
    maxmem_mib=st.just(512),
    vcpus=st.integers(1, 4),
    cpu_weight=numbers,
    disk_weight=numbers,
    network_weight=numbers,
    cap=st.none() | st.integers(0, 100),
    memory_guarantee_mib=st.none() | st.integers(1, 512),
    disks=st.lists(
        st.builds(DiskSpec, vdev=st.sampled_from(["xvda", "xvdb", "xvdc"]), target=st.just("/a"), qos=disk_limits),
        max_size=3,
        unique_by=lambda disk: disk.vdev,
    ).map(tuple),
    vifs=st.lists(st.builds(VifSpec, rate=rates, rate_in=rates), max_size=2).map(tuple),
)


@given(configs, classes)
def test_what_is_said_itself_comes_first_and_nothing_else_changes(config: DomainConfig, qos: QosClass) -> None:
    found = effective(config, qos)
    for name in ("cpu_weight", "cap", "disk_weight", "network_weight", "memory_guarantee_mib"):
        assert getattr(config, name) is None or getattr(found, name) == getattr(config, name)
    for before, after in zip(config.disks, found.disks, strict=True):
        assert set(before.qos.limits) <= set(after.qos.limits)
        assert set(after.qos.limits) <= set(before.qos.limits) | set(qos.disk.limits)
        assert replace(after, qos=before.qos) == before
    for card, changed in zip(config.vifs, found.vifs, strict=True):
        assert card.rate in (None, changed.rate) and card.rate_in in (None, changed.rate_in)
    same = ("cpu_weight", "cap", "disk_weight", "network_weight", "memory_guarantee_mib", "disks", "vifs")
    assert replace(found, **{name: getattr(config, name) for name in same}) == config


@given(configs, classes)
def test_a_class_laid_on_twice_is_as_once(config: DomainConfig, qos: QosClass) -> None:
    once = effective(config, qos)
    assert effective(once, qos) == once


@given(configs, classes)
def test_every_value_has_one_origin_and_the_class_gives_no_more_than_it_says(
    config: DomainConfig, qos: QosClass
) -> None:
    rows = held(config, qos)
    assert len({row.what for row in rows}) == len(rows)
    if qos == QosClass("gold"):
        assert Origin.CLASS not in {row.origin for row in rows}
