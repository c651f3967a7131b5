"""Which suites a project's audit has: its own files, the standard ones, those of its rows, public sets in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from appliance.conversion import ships
from appliance.dataset.nearest import meant
from appliance.errors import UsageError
from appliance.evaluation.auditing.audit import Plan, audit, prepared
from appliance.evaluation.auditing.sides import RIVALS
from appliance.evaluation.suite import Fault, Suite
from appliance.evaluation.suites.project_rows import suites_and_gaps
from appliance.evaluation.suites.public_sets import public_suites
from appliance.evaluation.suites.reading import digest_of, read_suites, standard_files, suite_files
from appliance.evaluation.systems import tuned_file
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
    compare: bool = True,
    sample: int = SAMPLE,
) -> Plan:
    """The project's audit.

    Args:
        project: whose suites/ and dataset are looked at.
        data: a folder with public sets; None leaves them out.
        standard: run the suites that ship with the product.
        only: names of suites; empty: all.
        against: systems to set beside the shipped file in every suite.
        compare: set the base, the base with examples and the release in service beside it in domain suites, and the
            base that is told the style in tone suites.
        sample: cases of a suite at most; 0: all.

    Raises:
        UsageError: a name of `only` is no suite's, or the folder isn't there.
    """
    suites, faults = read_suites([*own_files(project), *(standard_files() if standard else [])])
    own, left_out = suites_and_gaps(project)
    suites += own
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
    rivals = RIVALS if compare else ()
    return Plan(
        tuple(chosen),
        tuple(faults),
        tuple(against),
        rivals,
        sample,
        bool(only),
        () if only else tuple(left_out),
    )


def _covered(project: Project, plan: Plan) -> bool:
    """Whether the audit that lies there is of the file that ships, and asked all that the plan asks."""
    try:
        found = json.loads((project.audit / "audit.json").read_bytes())
        asked = {suite["name"]: suite["digest"] for suite in found["suites"]}
        model = found["systems"][0]["file"]["sha256"]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return False
    return bool(model == tuned_file(project, ships(project).type).sha256) and all(
        asked.get(suite.name) == digest_of(suite) for suite in prepared(project, plan).suites
    )


def run_audit(project: Project, checkpoint: Path, emit: Emit) -> None:
    """The audit of a build: the whole one where it is required, else the files that the configuration names.

    One that somebody has run already and that asked as much (with public sets, say) is left as it is.
    """
    if project.config.evaluation.audit == "required":
        plan = plan_of(project)
    else:
        suites, faults = read_suites(own_files(project))
        plan = Plan(tuple(suites), tuple(faults), sample=SAMPLE)
    if not _covered(project, plan):
        audit(project, plan, checkpoint, emit)
