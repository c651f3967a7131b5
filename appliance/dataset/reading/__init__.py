"""What people have, read as a stream: rows of conversations, transcripts and documents out of a dozen kinds of file.

`find_files` finds what patterns name, `detect` says what a file is and why, `read_file` reads it, `inspect_file` shows
it.
"""

from appliance.dataset.reading.detecting import Detected, detect
from appliance.dataset.reading.finding_files import file_name, find_files
from appliance.dataset.reading.inspecting import Inspection, inspect_file
from appliance.dataset.reading.material import (
    BadRow,
    Block,
    Cut,
    Document,
    Material,
    RawRow,
    Transcript,
    Turn,
    cannot_read,
    long_line,
)
from appliance.dataset.reading.reader import (
    by_lines,
    check_told_columns,
    read_detected,
    read_file,
    read_lines,
)
from appliance.dataset.reading.told_cells import ToldCell

__all__ = [
    "BadRow",
    "Block",
    "Cut",
    "Detected",
    "Document",
    "Inspection",
    "Material",
    "RawRow",
    "ToldCell",
    "Transcript",
    "Turn",
    "by_lines",
    "cannot_read",
    "check_told_columns",
    "detect",
    "file_name",
    "find_files",
    "inspect_file",
    "long_line",
    "read_detected",
    "read_file",
    "read_lines",
]
