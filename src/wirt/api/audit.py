"""The route of ``wirt audit``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from wirt.api.reply import reply
from wirt.operations.audit import Audited, HostAudit, audit_host
from wirt.operations.environment import Environment
from wirt.plan.findings import Finding, Verdict, worst
from wirt.wire import v1_audit as wire

LONGEST_TEXT = 400
MOST_DETAILS = 2000
_WORDS = {
    Verdict.OK: "as it should be",
    Verdict.WEAKER: "weaker than a jail can be, as planned",
    Verdict.UNKNOWN: "not wholly seen",
    Verdict.WIDER: "wider than it should be",
}


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["host"])

    @routes.get("/audit", response_model=wire.Audit)
    async def audit(domain: Annotated[list[str] | None, Query()] = None) -> Response:
        """What running domains can reach, beside what they should: those of `domain`, or all."""
        return reply(answer(await audit_host(environment, domain or ())))

    return routes


def answer(of: HostAudit) -> wire.Audit:
    verdicts = [each.audit.verdict for each in of.domains]
    home = worst(of.home)
    overall = max([*verdicts, home], key=list(Verdict).index)
    counts = [
        f"{verdicts.count(verdict)} {_WORDS[verdict]}" for verdict in reversed(Verdict) if verdict in verdicts
    ]
    number = len(verdicts)
    domains = f"{number} domain{'' if number == 1 else 's'}{': ' if counts else ''}{', '.join(counts)}"
    return wire.Audit(
        verdict=str(overall),
        summary=f"{domains}; the home is {_WORDS[home]}",
        domains=[_domain(each) for each in of.domains],
        home=[_finding(each) for each in of.home],
    )


def _domain(of: Audited) -> wire.AuditedDomain:
    run = of.domain.incarnation
    return wire.AuditedDomain(
        name=of.domain.name,
        uuid=str(of.domain.uuid),
        domid=of.domain.domid,
        pid=run.pid if run else None,
        jailed=of.audit.jailed,
        verdict=str(of.audit.verdict),
        sentence=of.audit.sentence,
        findings=[_finding(each) for each in of.audit.findings],
    )


def _finding(of: Finding) -> wire.AuditFinding:
    details = [_clean(each) for each in of.details[:MOST_DETAILS]]
    return wire.AuditFinding(
        what=_clean(of.what),
        found=_clean(of.found),
        expected=_clean(of.expected),
        verdict=str(of.verdict),
        why=_clean(of.why),
        details=details,
    )


def _clean(text: str) -> str:
    """File names hold any bytes, and any number of them; JSON holds text."""
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."
