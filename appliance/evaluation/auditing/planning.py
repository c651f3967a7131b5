"""Which suites a project's audit has: its own files, the standard ones, those of its rows, public sets in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from appliance import storage
from appliance.audit_scope import SAMPLE, Scope, lacking, own_files, scope_of, standing_scope
from appliance.conversion import ships
from appliance.dataset.nearest import meant
from appliance.errors import UsageError
from appliance.evaluation.auditing.audit import STAGE, Plan, audit, prepared
from appliance.evaluation.auditing.personal_answers import NAME as PERSONAL
from appliance.evaluation.auditing.sides import RIVALS
from appliance.evaluation.suite import Fault, Suite
from appliance.evaluation.suites.project_rows import suites_and_gaps
from appliance.evaluation.suites.public_sets import public_suites
from appliance.evaluation.suites.reading import digest_of, gate_words, read_suites, standard_files
from appliance.evaluation.systems import tuned_file
from appliance.events import Emit, Event
from appliance.paths import Project

RESERVED = {PERSONAL: "the audit's answers"}
"""Suites that every audit makes itself; no file may have their names."""


def plan_of(
    project: Project,
    *,
    data: Path | None = None,
    standard: bool = True,
    rows: bool = True,
    only: Sequence[str] = (),
    against: Sequence[str] = (),
    compare: bool = True,
    sample: int = SAMPLE,
) -> Plan:
    """The project's audit.

    Args:
        project: whose suites/ and dataset are looked at.
        data: a folder with public sets; None leaves them out.
        standard: run the suites that ship with the product.
        rows: run those that are made of the dataset's rows.
        only: names of suites; empty: all.
        against: systems to set beside the shipped file in every suite.
        compare: set the base, the base with examples and the release in service beside it in domain suites, and the
            base that is told the style in tone suites.
        sample: cases of a suite at most; 0: all.

    Raises:
        UsageError: a name of `only` is no suite's, or the folder isn't there.
    """
    # Digests first: a file that is changed while it is read is then one that wasn't asked.
    scope = scope_of(project, sample=sample, standard=standard, rows=rows)
    suites, faults = read_suites([*own_files(project), *(standard_files() if standard else [])])
    own, left_out = suites_and_gaps(project) if rows else ([], [])
    suites += own
    if data is not None:
        if not data.is_dir():
            raise UsageError(f"{data}: no such folder", "give the folder of the public sets")
        public, wrong = public_suites(data)
        suites, faults = [*suites, *public], [*faults, *wrong]
        scope = replace(scope, data=tuple(sorted(suite.name for suite in public if suite.cases)))
    seen: dict[str, Suite] = {}
    for suite in suites:
        other = seen[suite.name].where if suite.name in seen else RESERVED.get(suite.name)
        if other is not None:
            text = f"a suite {suite.name!r} was read from {other} already"
            faults.append(Fault(suite.where, text, suite.name, judged=True))
        else:
            seen[suite.name] = suite
    for name in only:
        if name not in seen:
            raise UsageError(
                f"no suite is called {name!r}{meant(name, seen)}", "`anchorhold audit list` shows them"
            )
    chosen = [suite for name, suite in seen.items() if not only or name in only]
    chosen = [suite for suite in chosen if suite.cases]
    rivals = RIVALS if compare else ()
    if only:  # faults of the others are told all the same
        faults = [fault if fault.suite in only else replace(fault, judged=False) for fault in faults]
    return Plan(
        tuple(chosen),
        tuple(faults),
        tuple(against),
        rivals,
        sample,
        None if only else scope,
        () if only else tuple(left_out),
    )


def _judges(suites: Sequence[Suite]) -> dict[str, tuple[str, list[str]]]:
    """By suite's name: the digest of what it asks, and its bounds in words."""
    return {suite.name: (digest_of(suite), [gate_words(gate) for gate in suite.gates]) for suite in suites}


def _covered(project: Project, plan: Plan, standing: Scope | None) -> bool:
    """Whether the verdicts that stand are of the file that ships, whole, and of all that the plan asks and judges."""
    if standing is None or lacking(project, standing):
        return False
    try:
        judged = json.loads((project.audit / "gates.json").read_bytes())
        found = json.loads((project.audit / "audit.json").read_bytes())
        known = {
            suite["name"]: (suite["digest"], [gate["bound"] for gate in suite["gates"]])
            for suite in found["suites"]
        }
        files = {name: storage.sha256_file(project.audit / name) for name in judged["files"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    wanted = _judges(prepared(project, plan).suites)
    return bool(files == judged["files"]) and all(known.get(name) == each for name, each in wanted.items())


def _plan_of_build(project: Project, standing: Scope | None) -> Plan:
    """Everything where an audit is required, else the project's own suites; and no less than what stands judged."""
    required = project.config.evaluation.audit == "required"
    sample = standing.sample if standing is not None else SAMPLE
    return plan_of(
        project,
        standard=required or bool(standing and standing.standard),
        rows=required or bool(standing and standing.rows),
        compare=required,
        sample=sample if sample == 0 or sample > SAMPLE else SAMPLE,
    )


def run_audit(project: Project, checkpoint: Path, emit: Emit) -> None:
    """The audit of a build: the whole one where it is required, else the project's own suite files.

    One that stands for this very file, asked as much (with public sets, say) and judged by the gates as they are now
    is left as it is. What is wrong with suites is told as warnings.
    """
    standing = standing_scope(project, tuned_file(project, ships(project).type).sha256)
    plan = _plan_of_build(project, standing)
    for fault in plan.faults:
        emit(Event(STAGE, "warning", str(fault)))
    if _covered(project, plan, standing):
        return
    result = audit(project, plan, checkpoint, emit)
    if result.lacks:
        text = f"the audit that stands is not replaced: {'; '.join(result.lacks)}: run `anchorhold audit`"
        emit(Event(STAGE, "warning", text))
