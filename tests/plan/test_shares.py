"""Weights, caps, periods and budgets become figures that keep their ratios, or are refused with the range."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.model.errors import BadInput
from wirt.plan.shares import (
    TOLERANCE,
    CreditTerms,
    RealTimeTerms,
    check,
    check_admission,
    check_real_time,
    nice,
    quota,
    real_time_quota,
    scale,
    v1_shares,
    weight_of_all,
)

WEIGHT = st.one_of(st.integers(1, 65535), st.sampled_from((1, 128, 256, 512, 1024, 65535)))
WEIGHTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), WEIGHT, min_size=1, max_size=40)


@given(WEIGHTS)
@settings(deadline=None)
def test_ratios_are_kept_within_the_bound(weights: dict[str, int]) -> None:
    scaled = scale(weights)
    least, most = min(weights.values()), max(weights.values())
    bound = most / (20_000 * least) if most <= 20_000 * least else most / (10_000 * least)
    assert scaled.error <= max(TOLERANCE, bound) + 1e-9
    for name, value in scaled.values.items():
        assert isinstance(value, int)
        assert 1 <= value <= 10_000
        assert abs(value / (scaled.factor * weights[name]) - 1) <= scaled.error + 1e-9


@given(WEIGHTS)
@settings(deadline=None)
def test_the_heavier_never_gets_less(weights: dict[str, int]) -> None:
    values = scale(weights).values
    order = sorted(weights, key=lambda name: weights[name])
    assert [values[name] for name in order] == sorted(values.values())


@given(WEIGHTS, WEIGHTS)
@settings(deadline=None)
def test_a_factor_that_still_does_stays(before: dict[str, int], after: dict[str, int]) -> None:
    factor = scale(before).factor
    changed = scale(after, factor)
    kept = {name: max(1, min(10_000, int(weight * factor + 0.5))) for name, weight in after.items()}
    if all(abs(kept[name] / (factor * weight) - 1) <= TOLERANCE for name, weight in after.items()):
        assert (changed.factor, changed.values) == (factor, kept)
    else:
        assert changed.factor == scale(after).factor or changed.error <= scale(after).error


@pytest.mark.parametrize(
    ("weights", "values"),
    [
        ((256,), (100,)),
        ((256, 512), (100, 200)),
        ((256, 1024), (100, 400)),
        ((1, 10_000), (1, 10_000)),
        ((3, 6, 9), (3333, 6666, 9999)),
        ((65535, 65535), (10_000, 10_000)),
    ],
)
def test_weights_that_can_be_exact_are(weights: tuple[int, ...], values: tuple[int, ...]) -> None:
    scaled = scale({str(place): weight for place, weight in enumerate(weights)})
    assert tuple(scaled.values.values()) == values
    assert values[0] * weights[-1] == values[-1] * weights[0]


@given(WEIGHT, WEIGHT)
@settings(deadline=None)
def test_version_1_is_exact(one: int, other: int) -> None:
    assert v1_shares(one) * other == v1_shares(other) * one
    assert 2 <= v1_shares(one) <= 262_144


def test_no_domains_need_no_weights() -> None:
    assert scale({}).values == {}
    assert weight_of_all(()) == 100


@pytest.mark.parametrize(
    ("cap", "us"), [(1, 1_000), (25, 25_000), (50, 50_000), (100, 100_000), (51_200, 51_200_000)]
)
def test_a_cap_is_a_quota(cap: int, us: int) -> None:
    made = quota(CreditTerms(cap=cap))
    assert made is not None
    assert (made.quota_us, made.period_us) == (us, 100_000)
    assert made.cpus == cap / 100


def test_no_cap_is_no_quota() -> None:
    assert quota(CreditTerms()) is None


@pytest.mark.parametrize(
    ("terms", "vcpus", "said"),
    [
        (CreditTerms(weight=0), 1, "it is 1 to 65535"),
        (CreditTerms(weight=65536), 1, "it is 1 to 65535"),
        (CreditTerms(cap=101), 1, "it is 1 to 100, in percent of one CPU, or 0 for none"),
        (CreditTerms(cap=401), 4, "with 4 vCPUs .it is 1 to 400"),
        (CreditTerms(cap=-1), 2, "it is 1 to 200"),
    ],
)
def test_terms_that_cant_be_are_refused_with_the_range(terms: CreditTerms, vcpus: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check(terms, vcpus)


def test_terms_at_the_ends_of_the_ranges_are_fine() -> None:
    check(CreditTerms(1, 0), 1)
    check(CreditTerms(65535, 51_200), 512)
    check_real_time(RealTimeTerms(10, 10))
    check_real_time(RealTimeTerms(60_000_000, 60_000_000))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (RealTimeTerms(9, 9), "period of 9 microseconds can't be .it is 10 to 60000000"),
        (RealTimeTerms(60_000_001, 10), "it is 10 to 60000000"),
        (RealTimeTerms(10_000, 10_001), "budget of 10001 microseconds can't be in a period of 10000"),
        (RealTimeTerms(10_000, 0), "it is 10 to 10000 microseconds"),
    ],
)
def test_periods_and_budgets_that_cant_be_are_refused(terms: RealTimeTerms, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_real_time(terms)


def test_no_more_is_promised_than_there_is() -> None:
    half = RealTimeTerms(10_000, 5_000)
    check_admission([(half, 2), (half, 2)], 2)
    with pytest.raises(BadInput, match=r"budgets of 2.50 CPUs in all can't be kept by 2"):
        check_admission([(half, 2), (half, 3)], 2)


@given(st.integers(10, 60_000_000), st.data())
@settings(deadline=None)
def test_a_budget_keeps_its_share_within_what_the_kernel_takes(period: int, data: st.DataObject) -> None:
    terms = RealTimeTerms(period, data.draw(st.integers(10, period)))
    made, remarks = real_time_quota(terms)
    assert made is not None
    assert made.quota_us >= 1_000
    assert 1_000 <= made.period_us <= 1_000_000
    assert made.cpus == pytest.approx(max(terms.share, 0.001), rel=0.002)
    assert any("deadline" in remark for remark in remarks)


def test_extra_time_is_no_limit() -> None:
    made, remarks = real_time_quota(RealTimeTerms(extra=True))
    assert made is None
    assert "no guarantee" in remarks[0]


@pytest.mark.parametrize(
    ("weights", "domain_0", "beside", "expected"),
    [
        ((256,), 256, 100, 100),
        ((256, 512), 256, 200, 600),
        ((1,), 65535, 100, 1),
        ((65535,) * 9, 256, 300, 10_000),
    ],
)
def test_domain_0_is_to_guests_what_a_guest_of_its_weight_is(
    weights: tuple[int, ...], domain_0: int, beside: int, expected: int
) -> None:
    assert weight_of_all(weights, domain_0, beside) == expected


def test_where_there_are_no_groups_nice_comes_near_and_says_what_it_cant() -> None:
    levels = nice({"light": (CreditTerms(256), 1), "heavy": (CreditTerms(512), 1), "wide": (CreditTerms(512), 4)})
    assert [levels[name].nice for name in ("heavy", "light", "wide")] == [0, 3, 6]
    assert "12 %" in levels["light"].remarks[0]


@given(WEIGHTS)
@settings(deadline=None)
def test_a_nice_level_is_never_further_off_than_it_says(weights: dict[str, int]) -> None:
    levels = nice({name: (CreditTerms(weight), 1) for name, weight in weights.items()})
    for name, weight in weights.items():
        ratio = 1.25 ** -levels[name].nice * max(weights.values()) / weight
        said_so = any("nice ends at" in remark for remark in levels[name].remarks)
        assert 0 <= levels[name].nice <= 19
        assert said_so or 0.89 <= ratio <= 1.12


def test_without_groups_a_cap_is_kept_to_whole_cpus() -> None:
    levels = nice({"a": (CreditTerms(cap=200), 4), "b": (CreditTerms(cap=150), 4), "c": (CreditTerms(cap=25), 1)})
    assert [levels[name].most_cpus for name in "abc"] == [2, 2, 1]
    assert "is kept by staying on 2 CPUs" in levels["a"].remarks[-1]
    assert "needs a control group" in levels["b"].remarks[-1]
    assert "only be kept to 1 CPU in all" in levels["c"].remarks[-1]
