"""The words that a class of service is defined with."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wirt.config.qos import WORDS, read_class, with_words, words_of
from wirt.config.xlcfg import load
from wirt.config.xlcfg.rate import parse_rate, rate_text
from wirt.config.xlcfg.spec import SpecError
from wirt.model.devices import Rate
from wirt.model.diskqos import DiskQos, Limit, Measure
from wirt.model.errors import BadInput, ConfigError
from wirt.model.qos import QosClass

GOLD = {
    "weight": "512",
    "cap": "150",
    "memory-guarantee": "256",
    "disk-weight": "200",
    "network-weight": "300",
    "iops": "500",
    "iops-burst": "900",
    "burst-seconds": "10",
    "bps-read": "20M",
    "rate": "100Mb/s",
    "rate-in": "1MB/s@20ms",
}


def test_a_class_says_what_was_said() -> None:
    found = read_class("gold", GOLD)
    limits = (Limit(Measure.IOPS, 500, 900), Limit(Measure.BPS_READ, 20 * 1024**2))
    rates = (Rate(12_500_000), Rate(1_000_000, 20_000))
    assert found == QosClass("gold", 512, 150, 200, 300, DiskQos(limits, 10), *rates, 256)
    assert list(words_of(found)) == [word for word in WORDS if word in GOLD]
    assert read_class("gold", words_of(found)) == found


def test_what_is_not_named_stays_and_none_takes_away() -> None:
    gold = read_class("gold", GOLD)
    after = with_words(gold, {"iops": "none", "cap": "0", "rate-in": ""})
    assert after.disk.limit(Measure.IOPS) is None and after.disk.limit(Measure.BPS_READ) is not None
    assert (after.weight, after.cap, after.rate_in) == (512, 0, None)
    assert with_words(gold, {}) == gold


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"weight": "0"}, "from 1 to 65535"),
        ({"weight": "65536"}, "from 1 to 65535"),
        ({"weight": "much"}, "from 1 to 65535"),
        ({"cap": "51201"}, "from 0 to 51200"),
        ({"memory-guarantee": "0"}, "from 1 to"),
        ({"disk-weight": "1001"}, "from 1 to 1000"),
        ({"network-weight": "0"}, "from 1 to 1000"),
        ({"iops": "9999999999"}, "iops is from 1 to 1000000000"),
        ({"bps": "1"}, "bps is from 4096 to"),
        ({"iops": "100", "iops-burst": "50"}, "not more than iops"),
        ({"iops-burst": "50"}, "needs iops"),
        ({"rate": "fast"}, "rate: fast is no rate"),
        ({"qos-group": "a"}, "has no 'qos-group'"),
        ({"speed": "1"}, "has no 'speed'"),
    ],
)
def test_what_can_not_be_is_refused_with_what_can(words: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_class("gold", words)


@pytest.mark.parametrize("name", ["", "none", "-x", "a/b", "a b", "x" * 64])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BadInput):
        read_class(name, {"weight": "1"})


@given(
    number=st.integers(1, 2**32 - 1),
    factor=st.sampled_from(["", "K", "M", "G"]),
    unit=st.sampled_from("bB"),
    at=st.sampled_from(["", "@20ms", "@1500us", "@2s"]),
)
def test_a_rate_is_written_as_it_is_read(number: int, factor: str, unit: str, at: str) -> None:
    text = f"{number * 8 % 2**32 or 8}{factor}{unit}/s{at}"
    try:
        rate = parse_rate(text, 0)
    except SpecError:  # more than is anybody's
        assume(False)
        return
    assert parse_rate(rate_text(rate), 0) == rate


def configuration(more: str) -> str:
    return f'name = "web"\ntype = "pvh"\nkernel = "/k"\nmemory = 128\nmaxmem = 512\n{more}\n'


def read(more: str) -> tuple[str | None, int | None]:
    config = load(configuration(more), file="web.cfg", cwd=PurePosixPath("/")).config
    return config.qos, config.memory_guarantee_mib


def test_a_configuration_names_a_class_and_a_guarantee() -> None:
    assert read('qos = "gold"\nmemory_guarantee = 100') == ("gold", 100)
    assert read('qos = "none"') == (None, None)
    for more, said in (('qos = "a/b"', "name of a class"), ("memory_guarantee = 513", "512 MiB at most")):
        with pytest.raises(ConfigError, match=said):
            read(more)
