"""Personal data in text: found by rules, replaced by placeholders or surrogates, and reported.

`find` looks through one text; `Redactor` goes through conversations; `redactor_for` makes a project's own.
"""

from appliance.dataset.redaction.finding import Options, Unsettled, find
from appliance.dataset.redaction.project_redactor import redaction_inputs, redactor_for
from appliance.dataset.redaction.redactor import Finding, Redacted, Redactor
from appliance.dataset.redaction.report import RedactionReport
from appliance.dataset.redaction.spans import DEFAULT_KINDS, KINDS, Span
from appliance.dataset.redaction.surrogates import Surrogates

__all__ = [
    "DEFAULT_KINDS",
    "KINDS",
    "Finding",
    "Options",
    "Redacted",
    "RedactionReport",
    "Redactor",
    "Span",
    "Surrogates",
    "Unsettled",
    "find",
    "redaction_inputs",
    "redactor_for",
]
