"""Rates are what really went by between two samples, whatever happened to the counters in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wirt.model.accounting import CardCount, DiskCount, RunCount, Sample, Told, VcpuCount
from wirt.plan.accounting import VcpuRate, grown, rates, same_run, series

NS = 1_000_000_000


def sample(
    at_s: float,
    ran_s: float = 0.0,
    waited_s: float | None = 0.0,
    *,
    run: str = "1",
    emulator_s: float = 0.0,
    sent: int = 0,
    told: Told | None = None,
) -> Sample:
    waited = None if waited_s is None else int(waited_s * NS)
    vcpu = VcpuCount(0, int(ran_s * NS), waited, 1)
    count = RunCount(run, (vcpu,), int((ran_s + emulator_s) * NS), int(emulator_s * NS), 0, 1 << 20, told)
    return Sample(at_s, count, (CardCount(0, 0, 0, 0, sent, sent // 100, 0),))


def told(at_s: float, reads: int) -> Told:
    return Told(at_s, (DiskCount("xvda", reads, 2 * reads, 0, 512 * reads, 0, reads * NS // 100),))


def test_a_vcpu_that_ran_half_the_time_and_waited_a_quarter() -> None:
    found = rates([sample(10, 5, 1, emulator_s=1, sent=0), sample(12, 6, 1.5, emulator_s=1.2, sent=4000)])
    assert found is not None and found.over_s == 2
    assert found.vcpus == (VcpuRate(0, 0.5, 0.25, 1),)
    assert found.cpu == pytest.approx(0.6) and found.emulator == pytest.approx(0.1) and found.waited == 0.25
    assert found.cards[0].tx_bytes == 2000 and found.cards[0].tx_packets == 20


def test_one_sample_says_nothing_of_rates() -> None:
    assert rates([]) is None and rates([sample(1, 1)]) is None
    assert series([sample(1, 1)]) == []


def test_a_run_that_came_from_elsewhere_or_began_anew_has_no_rates_before_its_second_sample() -> None:
    samples = [sample(1, 100), sample(2, 101), sample(3, 0.1, run="2")]
    assert rates(samples) is None and same_run(samples) == samples[2:]
    found = rates([*samples, sample(4, 0.6, run="2")], over_s=60)
    assert found is not None and found.over_s == 1 and found.cpu == pytest.approx(0.5)


def test_a_counter_that_began_anew_within_a_run_counts_what_came_since() -> None:
    found = rates([sample(1, 1, sent=10_000), sample(2, 1, sent=300)])
    assert found is not None and found.cards[0].tx_bytes == 300


def test_over_a_gap_the_rate_is_the_mean() -> None:
    found = rates([sample(10, 0), sample(3610, 1800)])
    assert found is not None and found.cpu == 0.5


def test_the_time_asked_for_is_covered_as_far_as_there_are_samples() -> None:
    samples = [sample(at, at * 0.1) for at in range(10)]
    for asked, over in ((0, 1), (1, 1), (3, 3), (3.5, 4), (100, 9)):
        found = rates(samples, asked)
        assert found is not None and found.over_s == over and found.cpu == pytest.approx(0.1)


def test_where_the_kernel_does_not_count_waiting_it_is_unknown_and_not_nothing() -> None:
    found = rates([sample(1, 0, None), sample(2, 1, None)])
    assert found is not None and found.vcpus[0].waited is None and found.waited is None


def test_what_no_vcpu_did_has_no_rate_before_it_is_known_which_threads_are_vcpus() -> None:
    """Or a guest's emulator would seem to have done in a second what it did since it began."""
    first, second, third = (sample(at, at, emulator_s=1000 + at) for at in range(3))
    unknown = replace(first, count=replace(first.count, vcpus=(), emulator_ns=None))
    found = rates([unknown, second])
    assert found is not None and found.emulator is None and found.vcpus == () and found.cpu == 2.0
    found = rates([unknown, second, third])
    assert found is not None and found.emulator == 1.0


def test_a_vcpu_and_a_card_that_were_plugged_in_between_have_no_rate_yet() -> None:
    before, now = sample(1), sample(2)
    vcpus = (*now.count.vcpus, VcpuCount(1, 5 * NS, 0, 0))
    cards = (*now.cards, CardCount(1, 9, 9, 0, 9, 9, 0))
    found = rates([before, replace(now, count=replace(now.count, vcpus=vcpus), cards=cards)])
    assert found is not None and [vcpu.index for vcpu in found.vcpus] == [0]
    assert [card.index for card in found.cards] == [0]


def test_disks_that_are_told_of_rarely_have_the_rate_between_two_answers() -> None:
    old, new = told(1, 100), told(21, 300)
    samples = [sample(1, told=old), sample(20, told=old), sample(22, told=new), sample(23, told=new)]
    found = rates(samples)
    assert found is not None and found.over_s == 1 and found.disks_over_s == 20
    (disk,) = found.disks
    assert (disk.reads, disk.writes, disk.read_bytes) == (10, 20, 5120) and disk.in_flight == pytest.approx(0.1)
    assert [rate.disks_over_s for _, rate in series(samples)] == [0, 20, 20]


def test_a_disk_that_came_between_two_answers_has_no_rate_and_without_answers_none_has() -> None:
    new = replace(told(3, 1), disks=(*told(3, 1).disks, DiskCount("xvdb", 1, 1, 1, 1, 1, 1)))
    found = rates([sample(1, told=told(1, 0)), sample(3, told=new)])
    assert found is not None and [disk.vdev for disk in found.disks] == ["xvda"]
    without = rates([sample(1), sample(2)])
    assert without is not None and without.disks == () and without.disks_over_s == 0


@given(some.lists(some.tuples(some.floats(0.1, 5), some.floats(0, 1), some.floats(0, 1)), min_size=2, max_size=12))
def test_parts_of_the_time_are_parts(steps: list[tuple[float, float, float]]) -> None:
    """However unevenly samples are taken, loads lie between 0 and 1, and rates add up to what was counted."""
    at, ran, waited, samples = 0.0, 0.0, 0.0, []
    for passed, used, stood in steps:
        at, ran, waited = at + passed, ran + passed * used, waited + passed * stood * (1 - used)
        samples.append(sample(at, ran, waited))
    for load in (vcpu for _, rate in series(samples) for vcpu in rate.vcpus):
        assert 0 <= load.used <= 1 and load.waited is not None and 0 <= load.waited <= 1
    counted = sum(rate.cpu * rate.over_s for _, rate in series(samples))
    assert counted == pytest.approx(ran - steps[0][0] * steps[0][1], abs=1e-6)


@given(some.integers(0, 1 << 63), some.integers(0, 1 << 63))
def test_what_came_is_never_less_than_nothing(before: int, now: int) -> None:
    assert 0 <= grown(before, now) <= now
