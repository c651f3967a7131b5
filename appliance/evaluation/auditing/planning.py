"""Which suites a project's audit has: its own files, the standard ones, those of its rows, public sets in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.dataset.nearest import meant
from appliance.errors import UsageError
from appliance.evaluation.auditing.audit import AuditResult, Plan, audit
from appliance.evaluation.suite import Fault, Suite
from appliance.evaluation.suites.project_rows import project_suites
from appliance.evaluation.suites.public_sets import public_suites
from appliance.evaluation.suites.reading import read_suites, standard_files, suite_files
from appliance.events import Emit
from appliance.paths import Project

SAMPLE = 100  # cases of a suite


def own_files(project: Project) -> list[Path]:
    """The project's suite files: those in suites/, and those that its configuration names."""
    found = {path.resolve(): path for path in suite_files(project.suites)}
    for pattern in project.config.evaluation.suites:
        matching = [path for path in sorted(project.root.glob(pattern)) if path.is_file()]
        if not matching:
            raise UsageError(f"evaluation.suites: {pattern!r} matches no file", "mend it in anchorhold.toml")
        found |= {path.resolve(): path for path in matching}
    return list(found.values())


def plan_of(
    project: Project,
    *,
    data: Path | None = None,
    standard: bool = True,
    only: Sequence[str] = (),
    against: Sequence[str] = (),
    sample: int = SAMPLE,
) -> Plan:
    """The project's audit.

    Args:
        project: whose suites/ and dataset are looked at.
        data: a folder with public sets; None leaves them out.
        standard: run the suites that ship with the product.
        only: names of suites; empty: all.
        against: systems to set beside the shipped file in every suite.
        sample: cases of a suite at most; 0: all.

    Raises:
        UsageError: a name of `only` is no suite's, or the folder isn't there.
    """
    suites, faults = read_suites([*own_files(project), *(standard_files() if standard else [])])
    suites += project_suites(project)
    if data is not None:
        if not data.is_dir():
            raise UsageError(f"{data}: no such folder", "give the folder of the public sets")
        public, wrong = public_suites(data)
        suites, faults = [*suites, *public], [*faults, *wrong]
    seen: dict[str, Suite] = {}
    for suite in suites:
        if suite.name in seen:
            faults.append(
                Fault(suite.where, f"a suite {suite.name!r} was read from {seen[suite.name].where} already")
            )
        else:
            seen[suite.name] = suite
    for name in only:
        if name not in seen:
            raise UsageError(
                f"no suite is called {name!r}{meant(name, seen)}", "`anchorhold audit list` shows them"
            )
    chosen = [suite for name, suite in seen.items() if not only or name in only]
    chosen = [suite for suite in chosen if suite.cases]
    return Plan(tuple(chosen), tuple(faults), tuple(against), sample, bool(only))


def run_audit(project: Project, checkpoint: Path, emit: Emit) -> AuditResult:
    """The audit of a build: the whole one where it is required, else the files that the configuration names."""
    settings = project.config.evaluation
    if settings.audit == "required":
        return audit(project, plan_of(project), checkpoint, emit)
    suites, faults = read_suites(own_files(project))
    return audit(project, Plan(tuple(suites), tuple(faults), (), SAMPLE), checkpoint, emit)
