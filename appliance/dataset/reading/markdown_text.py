"""Markdown and plain text into blocks, line by line: front matter, headings, lists, tables, code; Liquid tags go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from appliance.dataset.reading.blocks import HeadingPath
from appliance.dataset.reading.includes import Includes, OnInclude
from appliance.dataset.reading.markdown_marks import RAW, plain_markdown
from appliance.dataset.reading.material import Block, BlockKind

_MOST_CHARACTERS = 32 * 1024  # of one block
_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|\Z)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*\Z")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})\Z")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)\Z")
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_TABLE_RULE = re.compile(r"[ \t|:+]*-[ \t|:+-]*\Z")
_REFERENCE = re.compile(r" {0,3}\[[^\]]+\]:[ \t]*\S+.*\Z")
_OPEN_TAG = re.compile(r"<[a-zA-Z][\w-]*(?:\s[^<>]*)?\Z")
_BLOCK_HTML = re.compile(
    r"\s*</?(?:table|tbody|thead|tr|td|th|div|section|p|ul|ol|li|h[1-6]|details|summary)\b", re.I
)
_ALERT = re.compile(r"\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\][ \t]*")
_META = re.compile(r"([A-Za-z][\w-]*):[ \t]*(.*)\Z")


def _table_line(line: str) -> str:
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return " | ".join(cells)


class _Reader:
    """The state of a Markdown file being read."""

    def __init__(self, metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self.path = HeadingPath()
        self.lines: list[str] = []
        self.begins = 0
        self.characters = 0
        self.kind: BlockKind = "paragraph"
        self.fence = ""
        self.fence_indent = 0
        self.comment = ""  # how the comment at hand ends
        self.html: list[str] = []  # lines of a tag or a table that isn't closed yet
        self.html_end = ""
        self.html_begins = 0

    def flush(self) -> Iterator[Block]:
        """The block at hand, if it holds text."""
        lines, self.lines, self.characters = self.lines, [], 0
        if not lines:
            return
        if self.kind == "code":
            text = RAW.sub("", "\n".join(lines)).strip("\n")
        elif self.kind == "table":
            rows = [_table_line(line) for line in lines if not _TABLE_RULE.match(line)]
            text = plain_markdown("\n".join(rows))
        else:
            text = plain_markdown("\n".join(lines))
            if self.kind != "list":
                text = "\n".join(line.strip() for line in text.split("\n")).strip()
        if text.strip():
            yield Block(text, self.path.titles, self.begins, kind=self.kind)
        self.kind = "paragraph"

    def add(self, number: int, line: str, kind: BlockKind) -> Iterator[Block]:
        """A line of a block of `kind`; another kind ends the block before it."""
        if self.lines and (kind != self.kind or self.characters > _MOST_CHARACTERS):
            yield from self.flush()
        if not self.lines:
            self.begins, self.kind = number, kind
        self.lines.append(line)
        self.characters += len(line) + 1

    def heading(self, level: int, title: str) -> Iterator[Block]:
        """A heading: ends the block at hand and changes the path."""
        yield from self.flush()
        if title := " ".join(plain_markdown(title).split()):
            self.path.enter(level, title)


_OPENED = {"<!--": "-->", "{% comment": "endcomment"}


def _open_comment(line: str) -> str:
    """How a comment that a line opens and doesn't close is closed; empty: it opens none."""
    for opening, closing in _OPENED.items():
        begins = line.rfind(opening)
        if begins >= 0 and closing not in line[begins:] and line[:begins].count("`") % 2 == 0:
            return closing
    return ""


def _front_matter(lines: Iterator[tuple[int, str]], metadata: dict[str, str]) -> Iterator[tuple[int, str]]:
    """The lines behind the front matter; its plain values go into `metadata`."""
    held: list[tuple[int, str]] = []
    for number, line in lines:
        if number == 1 and line.rstrip() in {"---", "+++"}:
            held.append((number, line))
            continue
        if not held:
            yield number, line
            yield from lines
            return
        held.append((number, line))
        if line.rstrip() == held[0][1].rstrip() or line.rstrip() == "...":
            for _, entry in held[1:-1]:
                match = _META.match(entry) or re.match(r"(\w+)\s*=\s*(.*)\Z", entry)
                if match and match[2].strip():
                    metadata[match[1].lower()] = match[2].strip().strip("\"'")[:1000]
            yield from lines
            return
        if number > 400:
            break
    yield from held  # it was never closed, so it was none
    yield from lines


def _nobody(number: int, target: str) -> None:
    pass


def markdown_blocks(
    numbered: Iterable[tuple[int, str]], metadata: dict[str, str], on_include: OnInclude = _nobody
) -> Iterator[Block]:
    """Blocks of a Markdown file.

    Args:
        numbered: lines with their numbers, without their ends.
        metadata: gets the front matter's plain values.
        on_include: told of each directive to include a file, which is left out; in code they stay.
    """
    state = _Reader(metadata)
    includes = Includes(on_include, liquid=False)
    for number, line in _front_matter(iter(numbered), metadata):
        if state.fence:
            fence = _FENCE.match(line)
            if fence and fence[1].startswith(state.fence) and not fence[2].strip():
                state.fence = ""
                yield from state.flush()
                continue
            cut = len(line) - len(line.lstrip(" \t"))
            yield from state.add(number, line[min(cut, state.fence_indent) :], "code")
            continue
        if state.comment:
            if state.comment not in line:
                continue
            line = line.partition(state.comment)[2]
            if state.comment == "endcomment":
                line = line.partition("%}")[2]
            state.comment = ""
        if closing := _open_comment(line):
            state.comment = closing
            line = line[: line.rfind(next(key for key, value in _OPENED.items() if value == closing))]
        in_code = line.startswith(("    ", "\t")) and (not state.lines or state.kind == "code")
        if not in_code:
            line = includes.without(number, line)
        if not state.html and (fence := _FENCE.match(line)) and "`" not in fence[2]:
            yield from state.flush()
            state.fence, state.fence_indent = fence[1], len(line) - len(line.lstrip(" \t"))
            continue
        if state.html or _opens_html(line):
            yield from _html(state, number, line)
            continue
        yield from _line(state, number, line)
    if state.html:  # a tag that was never closed was none
        lines, state.html = state.html, []
        for offset, line in enumerate(lines):
            yield from _line(state, state.html_begins + offset, line)
    yield from state.flush()


_TABLE_OPENS = re.compile(r"[ \t]*(?:<div[^>]*>[ \t]*)?<table\b", re.IGNORECASE)
_CELL = re.compile(r"<t[dh]\b[^<>]*>(.*?)(?=</?t[dhr]\b|\Z)", re.IGNORECASE | re.DOTALL)
_MOST_HTML_LINES = 2000


def _opens_html(line: str) -> bool:
    """Whether a line opens a table, or a tag that goes on in the next line."""
    if "<" not in line or line.count("`") % 2:
        return False
    return bool(_TABLE_OPENS.match(line) or _OPEN_TAG.search(line))


def _html(state: _Reader, number: int, line: str) -> Iterator[Block]:
    """A line of HTML inside Markdown: tables become tables, a tag over several lines goes."""
    if not state.html:
        state.html_begins = number
        state.html_end = "</table>" if _TABLE_OPENS.match(line) else ">"
    state.html.append(line)
    opened = len(state.html) == 1 and state.html_end == ">"
    if (opened or state.html_end not in line.lower()) and len(state.html) < _MOST_HTML_LINES:
        return
    lines, state.html = state.html, []
    if state.html_end == ">":
        yield from _line(state, state.html_begins, " ".join(part.strip() for part in lines))
        return
    yield from state.flush()
    rows = []
    for row in re.split(r"</tr>", "\n".join(lines), flags=re.IGNORECASE):
        cells = [" ".join(plain_markdown(cell).split()) for cell in _CELL.findall(row)]
        if any(cells):
            rows.append(" | ".join(cells))
    if rows:
        yield Block("\n".join(rows), state.path.titles, state.html_begins, kind="table")


def _title(text: str) -> str:
    """A heading's words, without the signs that may close it."""
    title = text.strip(" \t")
    bare = title.rstrip("#")
    return bare.rstrip(" \t") if not bare or bare[-1] in " \t" else title


def _line(state: _Reader, number: int, line: str) -> Iterator[Block]:
    quoted = state.kind == "quote" and bool(state.lines)
    if line.lstrip().startswith(">") and not line.lstrip().startswith(">="):
        inner = _ALERT.sub("", re.sub(r"^\s*>+ ?", "", line, count=1))
        if inner.strip() or quoted:
            yield from state.add(number, inner, "quote")
        return
    if not line.strip():
        if state.kind == "list" and state.lines:
            state.lines.append("")  # a list may go on behind it
        else:
            yield from state.flush()
        return
    if match := _HEADING.match(line):
        yield from state.heading(len(match[1]), _title(line[match.end() :]))
        return
    one_line = len(state.lines) == 1 and state.kind == "paragraph"
    if one_line and "|" in state.lines[0] and "|" in line and _TABLE_RULE.match(line):
        state.kind = "table"
        yield from state.add(number, line, "table")
        return
    if one_line and (match := _UNDERLINE.match(line)):
        title, state.lines, state.characters = state.lines[0], [], 0
        yield from state.heading(1 if match[1][0] == "=" else 2, title)
        return
    if _RULE.match(line):
        yield from state.flush()
        return
    if _REFERENCE.match(line) and not state.lines:
        return
    if state.kind == "list" and state.lines:
        if state.lines[-1] == "" and not (_LIST.match(line) or line[0] in " \t"):
            yield from state.flush()
        else:
            yield from state.add(number, line, "list")
            return
    if _LIST.match(line) and (not state.lines or state.kind != "paragraph" or line.lstrip()[0] in "-*+"):
        yield from state.add(number, line, "list")
        return
    if line.lstrip().startswith("|") or (state.kind == "table" and state.lines and "|" in line):
        yield from state.add(number, line, "table")
        return
    if line.startswith(("    ", "\t")) and not state.lines:
        yield from state.add(
            number,
            line[4:] if line[0] == " " else line[1:],
            "code" if not _BLOCK_HTML.match(line) else "paragraph",
        )
        return
    if state.kind == "code" and state.lines:
        if line.startswith(("    ", "\t")):
            yield from state.add(number, line[4:] if line[0] == " " else line[1:], "code")
            return
        yield from state.flush()
    yield from state.add(number, line, "paragraph")


def text_blocks(numbered: Iterable[tuple[int, str]], on_include: OnInclude = _nobody) -> Iterator[Block]:
    """Blocks of plain text: paragraphs between empty lines.

    An underlined line is a heading, and so is a short one in capitals.

    Args:
        numbered: lines with their numbers, without their ends.
        on_include: told of each directive to include a file, which is left out.
    """
    path = HeadingPath()
    includes = Includes(on_include)
    held: list[str] = []
    begins = characters = 0

    def paragraph() -> Iterator[Block]:
        nonlocal held, characters
        lines, held, characters = held, [], 0
        text = "\n".join(lines).strip("\n")
        if len(lines) == 1 and text.isupper() and len(text) <= 80 and any(map(str.isalpha, text)):
            path.enter(2, text.strip())
        elif text.strip():
            yield Block(text, path.titles, begins)

    for number, line in numbered:
        line = includes.without(number, line.rstrip().replace("\f", ""))
        if not line:
            yield from paragraph()
        elif held and len(held) == 1 and _UNDERLINE.match(line) and len(line.strip()) >= 3:
            path.enter(1 if "=" in line else 2, held[0].strip())
            held, characters = [], 0
        else:
            if not held:
                begins = number
            held.append(line)
            characters += len(line) + 1
            if characters > _MOST_CHARACTERS:
                yield from paragraph()
    yield from paragraph()
