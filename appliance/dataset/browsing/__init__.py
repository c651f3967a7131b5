"""Looking into a prepared dataset without loading it: lines by number, rows by id, facts about a row, the review."""

from appliance.dataset.browsing.about_row import RowFacts, RowIndexes, about
from appliance.dataset.browsing.id_index import IdIndex, find_row
from appliance.dataset.browsing.line_file import LineFile
from appliance.dataset.browsing.review import Review

__all__ = ["IdIndex", "LineFile", "Review", "RowFacts", "RowIndexes", "about", "find_row"]
