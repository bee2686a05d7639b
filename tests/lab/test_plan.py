"""What a lab is made of, from its name and the number of hosts."""

from pathlib import Path

import pytest

from wirt.lab import LabError
from wirt.lab.plan import LINKS, MOST_HOSTS, bits_per_s, burst_bytes, lab_plan

LONGEST_DEVICE = 15


def test_no_two_hosts_share_a_name_an_address_or_a_place() -> None:
    hosts = lab_plan("lab", MOST_HOSTS, Path("/srv/lab")).hosts
    for what in ("name", "namespace", "home", "address", "bridge_address"):
        assert len({getattr(host, what) for host in hosts}) == MOST_HOSTS, what


def test_the_kernel_takes_every_name_of_a_device() -> None:
    for host in lab_plan("a" * 16, MOST_HOSTS, Path("/srv/lab")).hosts:
        assert all(len(host.port(link)) <= LONGEST_DEVICE for link in LINKS)


def test_two_labs_share_no_namespace() -> None:
    one, other = (lab_plan(name, 3, Path("/srv/lab")).namespaces for name in ("lab", "other"))
    assert not set(one) & set(other)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Lab", "a" * 17, "1st", "a-b"])
def test_a_name_that_would_be_a_path_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="can't be called"):
        lab_plan(name, 3, Path("/srv/lab"))


@pytest.mark.parametrize("hosts", [0, -1, MOST_HOSTS + 1])
def test_a_number_of_hosts_out_of_range_is_refused(hosts: int) -> None:
    with pytest.raises(LabError, match="hosts"):
        lab_plan("lab", hosts, Path("/srv/lab"))


@pytest.mark.parametrize(
    ("text", "rate"), [("none", None), ("1G", 10**9), ("10M", 10**7), ("1.5M", 1_500_000), ("500Mbit", 5 * 10**8)]
)
def test_a_bandwidth_is_in_bits_a_second(text: str, rate: int | None) -> None:
    assert bits_per_s(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1M", "1T", "0", "1", "1000G"])
def test_what_is_no_bandwidth_is_refused(text: str) -> None:
    with pytest.raises(LabError):
        bits_per_s(text)


def test_a_bucket_lets_its_rate_through_at_every_tick() -> None:
    for rate in (64_000, 10**7, 10**9, 10**11):
        assert burst_bytes(rate) * 250 * 8 >= rate
