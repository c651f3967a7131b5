"""The documents among a project's files as passages, for who wants to look things up in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from appliance.dataset.pairs.passages import passages
from appliance.dataset.preparing import source_files
from appliance.dataset.reading import BadRow, Document, file_name, find_files, read_file
from appliance.paths import Project
from appliance.retrieval import Passage

_CHARACTERS = 4  # of a token, about, in most languages that are written with letters
_LEAST = 20  # characters; less says nothing by itself


def document_passages(
    project: Project, patterns: Sequence[str] = (), on_skipped: Callable[[BadRow], None] = lambda _: None
) -> Iterator[Passage]:
    """Every passage of the documents, as long as `dataset.pairs.passage_tokens` at most.

    Args:
        project: names the sources.
        patterns: files, folders or globs to read in their place.
        on_skipped: told of what can't be read.

    Raises:
        DataError: a file that is named isn't there.
    """
    section = project.config.dataset
    if patterns:
        found = find_files(project.root, list(patterns), "sources", on_skipped, project.own)
        files = [(path, file_name(path, project.root)) for path in found]
    else:
        files = [(path, name) for path, name, _ in source_files(project, on_skipped)]
    limit = section.pairs.passage_tokens * _CHARACTERS
    for path, name in files:
        for thing in read_file(path, name, section, lambda _: None):
            if isinstance(thing, BadRow):
                on_skipped(thing)
            elif isinstance(thing, Document):
                yield from _of(thing, limit)


def _of(document: Document, limit: int) -> Iterator[Passage]:
    for each in passages(document, limit):
        text = each.text.strip()
        if len(text) >= _LEAST:
            title = " > ".join(dict.fromkeys(filter(None, (each.title, *each.headings))))
            yield Passage(f"{each.file}:{each.line}" if each.line else each.file, title, text)
