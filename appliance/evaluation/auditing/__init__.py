"""The audit: suites run on the file that ships, its figures beside other systems', gates, and the report card.

`audit` runs a plan, `plan_of` makes a project's own, `run_audit` does both as a build does.
"""

from appliance.evaluation.auditing.audit import AuditResult, Plan, audit
from appliance.evaluation.auditing.planning import plan_of, run_audit

__all__ = ["AuditResult", "Plan", "audit", "plan_of", "run_audit"]
