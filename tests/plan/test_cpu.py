"""A guest is given what it can keep: chosen by rule, the same elsewhere or refused, and the most that all can
give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wirt.model.cpu import CpuChoice, CpuModel, CpuOffer, GivenCpu, parse_choice
from wirt.model.errors import BadInput, ConfigError
from wirt.plan.cpu import EMULATED_EVERYWHERE, again, baseline, choose, lacking, named, other_cpu
from wirt.plan.host import Accelerator
from wirt.plan.migration import Side, between

TCG, KVM = Accelerator.TCG, Accelerator.KVM
LEVEL_2 = {"cx16", "lahf-lm", "pni", "popcnt", "sse4.1", "sse4.2", "ssse3"}
SMALL = frozenset({"fpu", "lm", "sse2", "svm"})
WESTMERE = CpuModel("Westmere", frozenset({"fpu", "lm", "sse2", "aes", "popcnt"}))
HASWELL = CpuModel("Haswell", frozenset(), ("hle", "rtm"))
MODELS = (HASWELL, WESTMERE, CpuModel("qemu64", SMALL))
OLD = CpuOffer("Old", "Old family 6 model 1", SMALL | LEVEL_2 | {"aes", "pcommit"}, MODELS)
NEW = CpuOffer("Old", "Old family 6 model 2", SMALL | LEVEL_2 | {"aes", "avx", "rdseed"}, MODELS)
words = some.sampled_from(
    sorted(SMALL | LEVEL_2 | {"aes", "avx", "pcommit", "rdseed", "vmx-ept", "hypervisor", "npt"})
)


@some.composite
def offers(draw: some.DrawFn) -> CpuOffer:
    """Hosts that agree on what a model is, and have some of them."""
    features = SMALL | draw(some.frozensets(words))
    known = [CpuModel("qemu64", SMALL), WESTMERE, CpuModel("Tiny", frozenset({"fpu"}))]
    models = tuple(each for each in known if each.features <= features)
    return CpuOffer("Old", "Old family 6 model 1", features, models)


clusters = some.dictionaries(some.sampled_from(["a", "b", "c", "d"]), offers(), min_size=1)


def test_a_guest_under_kvm_has_the_hosts_own_cpu() -> None:
    assert choose(None, KVM, OLD).argument == "host"
    assert choose(None, KVM, OLD).identity == OLD.identity


def test_an_emulated_guest_has_what_every_qemu_emulates_and_no_more() -> None:
    old, new = choose(None, TCG, OLD), choose(None, TCG, NEW)
    assert old.argument == "max,pcommit=off"
    assert new.argument == "max,rdseed=off"
    assert old.features <= EMULATED_EVERYWHERE
    assert choose("max", TCG, NEW).argument == "max"


def test_without_knowledge_of_the_host_the_model_stands_alone() -> None:
    assert choose(None, TCG, None).argument == "max"
    assert choose("Westmere,+avx", TCG, None).argument == "Westmere,avx=on"


def test_a_level_is_made_of_the_smallest_model() -> None:
    chosen = choose("x86-64-v2,+aes,-popcnt", TCG, OLD)
    assert chosen.argument == (
        "qemu64,aes=on,cx16=on,lahf-lm=on,pni=on,sse4.1=on,sse4.2=on,ssse3=on,popcnt=off,svm=off"
    )
    assert chosen.features == (SMALL | LEVEL_2 | {"aes"}) - {"svm", "popcnt"}


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ("Haswell", "hle, rtm"),
        ("x86-64-v3", "avx"),
        ("Westmere,+avx2", "avx2"),
        ("Pentium9", "no CPU model Pentium9"),
        ("host", "only KVM"),
        ("host,+aes", "only KVM"),
        ("a b", "no CPU model"),
        ("Westmere,aes", "no feature to add"),
        ("Westmere,+aes,-aes", "twice"),
    ],
)
def test_a_cpu_that_can_not_be_had_is_refused_by_name(wish: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        choose(wish, TCG, OLD)


@given(offers(), offers())
def test_a_guest_has_the_very_same_cpu_on_each_host_that_can_give_it(here: CpuOffer, there: CpuOffer) -> None:
    for wish in (None, "max", "Westmere", "x86-64-v1"):
        try:
            chosen = choose(wish, TCG, here)
        except ConfigError:
            continue
        has = GivenCpu(chosen.model, chosen.features)
        assert again(has, here).argument == chosen.argument
        if lacking(has, there):
            continue
        moved = again(has, there)
        assert moved.features == chosen.features
        assert again(GivenCpu(moved.model, moved.features), here).argument == chosen.argument


def test_what_is_not_known_of_a_guest_is_not_made_up() -> None:
    assert again(GivenCpu("max"), NEW).argument == "max"
    assert again(GivenCpu("host"), None).argument == "host"


@given(clusters)
def test_a_baseline_is_offered_by_every_host_and_has_the_largest_model(hosts: dict[str, CpuOffer]) -> None:
    found = baseline(hosts)
    for offer in hosts.values():
        assert choose(str(found.choice), TCG, offer).features == found.features
    shared = [
        model
        for model in named(next(iter(hosts.values())))
        if all(model in named(offer) for offer in hosts.values())
    ]
    assert max(len(model.features) for model in shared) == len(
        next(model for model in shared if model.name == found.base).features
    )


@given(clusters)
def test_a_baseline_has_all_that_can_be_given_and_what_is_missing_is_said(hosts: dict[str, CpuOffer]) -> None:
    found = baseline(hosts)
    everywhere = frozenset.intersection(*(offer.features for offer in hosts.values()))
    assert everywhere - found.features <= {"svm", "npt", "vmx-ept", "hypervisor"}
    for held in found.held_back:
        assert not hosts[held.host].features & set(held.features)
        assert all(set(held.features) <= offer.features for name, offer in hosts.items() if name != held.host)


@given(clusters)
def test_the_order_of_hosts_does_not_matter_and_a_baseline_of_a_baseline_is_itself(
    hosts: dict[str, CpuOffer],
) -> None:
    found = baseline(hosts)
    assert baseline(dict(reversed(hosts.items()))) == found
    models = tuple(each for each in next(iter(hosts.values())).models if each.features <= found.features)
    if any(model.name == "qemu64" for model in models):
        assert baseline({"only": CpuOffer("Old", "", found.features, models)}).features == found.features


def test_hosts_without_anything_in_common_have_no_baseline() -> None:
    with pytest.raises(BadInput, match="no CPU model in common"):
        baseline({"a": OLD, "b": CpuOffer("Other", "", frozenset({"fpu"}))})
    with pytest.raises(BadInput):
        baseline({})


@given(some.text(max_size=40))
def test_any_text_is_a_choice_or_refused(text: str) -> None:
    try:
        choice = parse_choice(text)
    except BadInput:
        return
    assert parse_choice(str(choice)) == choice


def test_a_choice_is_written_in_one_way() -> None:
    assert str(parse_choice("x86-64-v2,-b,+z,+a")) == "x86-64-v2,+a,+z,-b"
    assert parse_choice("max") == CpuChoice("max")


def side(given: GivenCpu, offer: CpuOffer | None, accelerator: Accelerator = TCG) -> Side:
    return Side("h", (10, 0, 0), accelerator, "pc", given, offer)


def test_a_missing_feature_keeps_a_guest_where_it_is_and_the_remedy_is_told() -> None:
    has = GivenCpu("max", NEW.features)
    (remark,) = between(side(has, NEW), side(GivenCpu("max"), OLD))
    assert remark.blocks and "avx, rdseed" in remark.what
    assert remark.remedy is not None and "wirt cpu baseline" in remark.remedy
    common = GivenCpu("max", choose(None, TCG, OLD).features)
    assert between(side(common, OLD), side(GivenCpu("max"), NEW)) == ()


def test_a_guest_with_the_hosts_own_cpu_stays_among_its_like() -> None:
    has = GivenCpu("host", SMALL, OLD.identity)
    assert other_cpu(has, NEW) and not other_cpu(has, OLD)
    (remark,) = between(side(has, OLD, KVM), side(GivenCpu("host"), NEW, KVM))
    assert remark.blocks and "family 6 model 2" in remark.what
    named_model = GivenCpu("Westmere", WESTMERE.features - {"popcnt"}, OLD.identity)
    assert not other_cpu(named_model, NEW)
    assert other_cpu(named_model, CpuOffer("Other", "Other family 1 model 1", NEW.features, MODELS))


def test_what_is_not_known_does_not_block_and_is_said() -> None:
    (remark,) = between(side(GivenCpu("max"), OLD), side(GivenCpu("max"), NEW))
    assert not remark.blocks and "not known" in remark.what


def test_a_model_that_the_other_qemu_has_not_blocks() -> None:
    has = GivenCpu("Newest", frozenset({"fpu"}))
    (remark,) = between(side(has, NEW), side(GivenCpu("max"), OLD))
    assert remark.blocks and "no CPU model Newest" in remark.what
