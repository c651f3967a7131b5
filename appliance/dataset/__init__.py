"""Examples in, clean splits out: read, normalise, check, drop duplicates, keep near ones together, split, tell.

`prepare` makes build/dataset of a project; `read_rows` and `load_card` read it back.
"""

from appliance.dataset.canaries import is_canary
from appliance.dataset.card import DatasetCard, load_card
from appliance.dataset.lengths import counter
from appliance.dataset.other_rows import read_other_rows
from appliance.dataset.passages import document_passages
from appliance.dataset.placing import are_labels
from appliance.dataset.preparing import prepare, source_files
from appliance.dataset.reading import BadRow
from appliance.dataset.rows import Row, iterate_rows, read_rows
from appliance.dataset.schema import AnswerSchema

__all__ = [
    "AnswerSchema",
    "BadRow",
    "DatasetCard",
    "Row",
    "are_labels",
    "counter",
    "document_passages",
    "is_canary",
    "iterate_rows",
    "load_card",
    "prepare",
    "read_other_rows",
    "read_rows",
    "source_files",
]
