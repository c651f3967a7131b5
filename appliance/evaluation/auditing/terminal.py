"""An audit for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.evaluation.auditing.audit import AuditResult
from appliance.evaluation.auditing.sides import COMPARED
from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suite import Fault, Suite
from appliance.evaluation.suites.reading import gate_words
from appliance.evaluation.systems import BASE, SHIPPED, TUNED_FULL
from appliance.visible import visible

_SHOWN = 40  # faults, of a suite as well


def fault_lines(faults: Sequence[Fault]) -> list[str]:
    """What is wrong with suites, a line each."""
    lines = [f"fault: {visible(str(fault), 300)}" for fault in faults[:_SHOWN]]
    return lines + ([f"fault: … and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else [])


def suite_lines(suites: Sequence[Suite]) -> list[str]:
    """Suites, a line each, with their gates."""
    return [
        f"{suite.name:<28}{suite.kind:<14}{suite.scorer:<13}{len(suite.cases):>5} cases  "
        + ("; ".join(gate_words(gate) for gate in suite.gates) or "no gate")
        for suite in suites
    ]


def audit_lines(result: AuditResult) -> list[str]:
    """Each suite's first figure by system, who won against whom, its faults, then the gates that failed."""
    keys = [system["key"] for system in result.systems if system["key"] in {SHIPPED, BASE, TUNED_FULL}]
    titles = {system["key"]: system["title"] for system in result.systems}
    lines = [f"{'suite':<28}{'figure':<16}" + "".join(f"{key:>26}" for key in keys)]
    for suite in result.suites:
        metric = SCORERS[suite.scorer].metrics[0]
        cells = []
        for key in keys:
            found = suite.figure(key, metric.name)
            if found is None:
                cells.append("-")
            elif metric.shape == "share":
                cells.append(f"{found.value:.1%} ({found.low:.0%} to {found.high:.0%})")
            else:
                cells.append(f"{found.value:.4g} ({found.low:.3g} to {found.high:.3g})")
        lines.append(f"{suite.name:<28}{metric.name:<16}" + "".join(f"{cell:>26}" for cell in cells))
        lines += [
            f"  against {titles[gap.against]}: {gap.wins} won, {gap.losses} lost of {gap.cases}, p = {gap.p:.2g}: "
            f"{gap.verdict}"
            for gap in suite.differences
            if suite.kind in COMPARED and gap.metric == metric.name
        ]
        lines += [f"  fault: {visible(fault, 300)}" for fault in suite.faults[:_SHOWN]]
        if len(suite.faults) > _SHOWN:
            lines.append(f"  fault: … and {len(suite.faults) - _SHOWN} more")
    lines += [f"no suite {visible(reason, 300)}" for reason in result.left_out]
    failed = [verdict for verdict in result.verdicts if not verdict.passed]
    lines.append(f"{len(result.verdicts) - len(failed)} of {len(result.verdicts)} gates passed")
    lines += [f"failed: {v.gate}: {visible(v.reason, 300)}; asked: {v.bound}" for v in failed]
    return lines
