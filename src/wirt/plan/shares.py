"""The credit scheduler's terms in the figures of what Linux has: control groups of both versions, or nice levels.
Pure.

Xen's own terms: xl(1), "sched-credit", "sched-credit2", "sched-rtds". Linux: Documentation/admin-guide/
cgroup-v2.rst, "CPU Interface Files"; scheduler/sched-bwc.rst for quotas; sched(7) for nice levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wirt.model.errors import BadInput
from wirt.plan.launch import DEFAULT_WEIGHT

LEAST_WEIGHT, MOST_WEIGHT = 1, 65535
LEAST_DISK_WEIGHT, MOST_DISK_WEIGHT, DEFAULT_DISK_WEIGHT = 1, 1000, 100
"""What bfq takes, whose figures all of the kernel's files for weights of disks take as they are."""
V2_USUAL, V2_LEAST, V2_MOST = 100, 1, 10_000
"""Of ``cpu.weight``."""
V1_USUAL = 1024
"""Of ``cpu.shares``, which goes to 262144 (kernel/sched/sched.h): four times any weight of Xen's fits."""
TOLERANCE = 0.005
"""How far a weight may be from what it should be without a better scale being looked for."""
CAP_PERIOD_US = 100_000
"""The kernel's usual one. Shorter would make a guest stand still for shorter times, but slices of a quota are
handed to CPUs 5 ms at a time, and a small quota over many vCPUs then has too few to go round."""
LEAST_QUOTA_US, LEAST_PERIOD_US, MOST_PERIOD_US = 1_000, 1_000, 1_000_000
LEAST_RT_US = 10
"""Of a period and of a budget (Xen, xen/common/sched/rt.c, RTDS_MIN_PERIOD)."""
MOST_RT_US = 60_000_000
"""Of a period: a guest that stands still for longer is taken for dead by whoever talks to it."""
NICE_STEP = 1.25
"""One level of nice is so much of a weight (Linux, Documentation/scheduler/sched-nice-design.rst)."""
LAST_NICE = 19


@dataclass(frozen=True, slots=True)
class CreditTerms:
    """What ``sched-credit`` and ``sched-credit2`` set. ``cap`` is in percent of one CPU; 0 is none."""

    weight: int = DEFAULT_WEIGHT
    cap: int = 0


@dataclass(frozen=True, slots=True)
class RealTimeTerms:
    """What ``sched-rtds`` sets, for each vCPU: in every period it may have its budget, and with ``extra`` what is
    over as well."""

    period_us: int = 10_000
    budget_us: int = 4_000
    extra: bool = False

    @property
    def share(self) -> float:
        return self.budget_us / self.period_us


@dataclass(frozen=True, slots=True)
class Quota:
    """So much time in each period (``cpu.max``; ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``)."""

    quota_us: int
    period_us: int

    @property
    def cpus(self) -> float:
        return self.quota_us / self.period_us


@dataclass(frozen=True, slots=True)
class Scaled:
    """Weights in another unit: ``factor`` times each, rounded and within what there is. ``error`` is how far the
    worst of them is off, 0.01 for one percent."""

    factor: float
    values: Mapping[str, int]
    error: float


@dataclass(frozen=True, slots=True)
class Niceness:
    """What is left where no control group may be made: the level of a domain's threads, and on how many CPUs they
    may be at once. ``remarks`` say what of the terms that can't hold."""

    nice: int
    most_cpus: int | None = None
    remarks: tuple[str, ...] = field(default=())


def check(terms: CreditTerms, vcpus: int) -> None:
    """``BadInput`` with the range that can be, for a domain of ``vcpus``."""
    if not LEAST_WEIGHT <= terms.weight <= MOST_WEIGHT:
        raise BadInput(
            f"a weight of {terms.weight} can't be",
            hint=f"it is {LEAST_WEIGHT} to {MOST_WEIGHT}; {DEFAULT_WEIGHT} is what a domain has unasked",
        )
    if not 0 <= terms.cap <= 100 * vcpus:
        raise BadInput(
            f"a cap of {terms.cap} can't be for a domain with {_vcpus(vcpus)}",
            hint=f"it is 1 to {100 * vcpus}, in percent of one CPU, or 0 for none",
        )


def check_disk_weight(weight: int) -> None:
    if not LEAST_DISK_WEIGHT <= weight <= MOST_DISK_WEIGHT:
        raise BadInput(
            f"a disk weight of {weight} can't be",
            hint=f"it is {LEAST_DISK_WEIGHT} to {MOST_DISK_WEIGHT}; {DEFAULT_DISK_WEIGHT} is what a domain has "
            "unasked",
        )


def check_real_time(terms: RealTimeTerms) -> None:
    if not LEAST_RT_US <= terms.period_us <= MOST_RT_US:
        raise BadInput(
            f"a period of {terms.period_us} microseconds can't be",
            hint=f"it is {LEAST_RT_US} to {MOST_RT_US} microseconds",
        )
    if not LEAST_RT_US <= terms.budget_us <= terms.period_us:
        raise BadInput(
            f"a budget of {terms.budget_us} microseconds can't be in a period of {terms.period_us}",
            hint=f"it is {LEAST_RT_US} to {terms.period_us} microseconds",
        )


def check_admission(wished: Sequence[tuple[RealTimeTerms, int]], cpus: int) -> None:
    """Whether ``cpus`` can keep all that is promised: terms and number of vCPUs of each domain."""
    promised = sum(terms.share * vcpus for terms, vcpus in wished)
    if promised > cpus + 1e-9:
        raise BadInput(
            f"budgets of {promised:.2f} CPUs in all can't be kept by {cpus}",
            hint="give less budget, or longer periods, so that the sum of budget/period over all vCPUs is "
            f"{cpus} at most",
        )


def quota(terms: CreditTerms) -> Quota | None:
    """Of a whole domain, whatever its vCPUs do; ``None`` without a cap."""
    if terms.cap == 0:
        return None
    return Quota(max(LEAST_QUOTA_US, terms.cap * CAP_PERIOD_US // 100), CAP_PERIOD_US)


def real_time_quota(terms: RealTimeTerms) -> tuple[Quota | None, tuple[str, ...]]:
    """Of one vCPU, and what of the promise a quota does not keep: it holds a vCPU to its budget; that the budget
    is there is :func:`check_admission`, and that it comes within each period is nobody's promise."""
    remarks: tuple[str, ...] = ("a quota holds a vCPU to its budget, but sets no deadline within the period",)
    if terms.extra:
        return None, ("with extra time there is no limit, and by weight alone the budget is no guarantee",)
    shortest = max(LEAST_PERIOD_US / terms.period_us, LEAST_QUOTA_US / terms.budget_us)
    longest = MOST_PERIOD_US / terms.period_us
    if shortest > longest:
        least = Quota(LEAST_QUOTA_US, MOST_PERIOD_US)
        return least, (
            *remarks,
            f"{terms.share:.5f} of a CPU is less than the kernel can hold to: it gets {least.cpus}",
        )
    stretch = min(max(1.0, shortest), longest)
    if stretch != 1:
        period = round(terms.period_us * stretch)
        remarks += (
            f"the kernel can't have a period of {terms.period_us}: the same share in {period} microseconds",
        )
    return Quota(round(terms.budget_us * stretch), round(terms.period_us * stretch)), remarks


def scale(weights: Mapping[str, int], current: float | None = None) -> Scaled:
    """``cpu.weight`` of all domains of a host, by one factor for all, so that their ratios stay.

    The factor that is in use (``current``) stays as long as it is good to :data:`TOLERANCE`, then comes the one
    that makes 256 the kernel's usual 100, then one that is exact, then the largest that there is room for. With
    that, no weight is further off than ``max / (10000 * min)``, and half of that as long as
    ``max <= 20000 * min``: a weight of 1 beside one of 65535 can't be told in 1 to 10000.
    """
    if not weights:
        return Scaled(V2_USUAL / DEFAULT_WEIGHT, {}, 0.0)
    most, common = max(weights.values()), math.gcd(*weights.values())
    exact = max(1, V2_MOST * common // most) / common
    factors = (V2_USUAL / DEFAULT_WEIGHT, exact, V2_MOST / most)
    best: Scaled | None = None
    for factor in factors if current is None else (current, *factors):
        tried = _by(factor, weights)
        if tried.error <= TOLERANCE:
            return tried
        if best is None or tried.error < best.error:
            best = tried
    assert best is not None
    return best


def _by(factor: float, weights: Mapping[str, int]) -> Scaled:
    values = {
        name: max(V2_LEAST, min(V2_MOST, math.floor(weight * factor + 0.5))) for name, weight in weights.items()
    }
    return Scaled(
        factor, values, max(abs(values[name] / (weight * factor) - 1) for name, weight in weights.items())
    )


def v2_weight(weight: int) -> int:
    """``cpu.weight`` of one domain by itself, until all of its host are scaled together (:func:`scale`)."""
    return _by(V2_USUAL / DEFAULT_WEIGHT, {"": weight}).values[""]


def v1_shares(weight: int) -> int:
    """``cpu.shares``, which is exact for every weight."""
    return weight * V1_USUAL // DEFAULT_WEIGHT


def weight_of_all(weights: Sequence[int], domain_0: int = DEFAULT_WEIGHT, beside: int = V2_USUAL) -> int:
    """``cpu.weight`` of the group that holds all domains, so that Domain-0 is to them what one domain of the
    weight ``domain_0`` is. ``beside`` is the sum of the weights of the groups next to it: all else that the host
    does."""
    if not weights:
        return V2_USUAL
    return max(V2_LEAST, min(V2_MOST, round(beside * sum(weights) / domain_0)))


def nice(terms: Mapping[str, tuple[CreditTerms, int]]) -> Mapping[str, Niceness]:
    """For domains by name, with their numbers of vCPUs. The heaviest vCPU keeps level 0, for better ones need
    rights; a weight is a domain's, so that each of its vCPUs has its part of it."""
    each = {name: credit.weight / max(1, vcpus) for name, (credit, vcpus) in terms.items()}
    most = max(each.values(), default=1.0)
    return {name: _niceness(most / each[name], *terms[name]) for name in terms}


def _niceness(behind: float, credit: CreditTerms, vcpus: int) -> Niceness:
    wanted = round(math.log(behind, NICE_STEP))
    remarks = ["a nice level is right to about 12 %, and counts for each busy vCPU instead of the whole domain"]
    if wanted > LAST_NICE:
        remarks.append(
            f"its vCPUs should have one part in {behind:.0f} of the heaviest, and nice ends at one in "
            f"{NICE_STEP**LAST_NICE:.0f}"
        )
    cpus = None
    if credit.cap:
        cpus = min(max(1, vcpus), math.ceil(credit.cap / 100))
        if credit.cap == 100 * cpus:
            remarks.append(f"its cap of {credit.cap} % is kept by staying on {_cpus(cpus)}")
        else:
            remarks.append(
                f"its cap of {credit.cap} % needs a control group: it can only be kept to {_cpus(cpus)} in all"
            )
    return Niceness(min(LAST_NICE, wanted), cpus, tuple(remarks))


def _cpus(number: int) -> str:
    return "1 CPU" if number == 1 else f"{number} CPUs"


def _vcpus(number: int) -> str:
    return "1 vCPU" if number == 1 else f"{number} vCPUs"
