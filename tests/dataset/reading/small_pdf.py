"""A PDF of a few lines a page, written by hand: nothing else that is installed writes text that can be read back."""

from __future__ import annotations

from pathlib import Path


def write_pdf(path: Path, pages: list[list[str]], bookmarks: list[tuple[str, int]] | None = None) -> Path:
    """Write `pages` of lines (empty lines leave room) to `path`; bookmarks are titles with pages from 1."""
    marks = bookmarks or []
    first_page, first_mark = 4, 4 + 2 * len(pages)
    kids = " ".join(f"{first_page + 2 * number} 0 R" for number in range(len(pages)))
    outlines = f"/Outlines {first_mark} 0 R" if marks else ""
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {outlines} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, lines in enumerate(pages):
        text = "".join(f"({line}) Tj T* " if line else "T* " for line in lines)
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {text}ET" if lines else ""
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {first_page + 2 * number + 1} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    if marks:
        last = first_mark + len(marks)
        objects.append(
            f"<< /Type /Outlines /First {first_mark + 1} 0 R /Last {last} 0 R /Count {len(marks)} >>"
        )
    for number, (title, page) in enumerate(marks, start=1):
        around = f"/Next {first_mark + number + 1} 0 R " if number < len(marks) else ""
        around += f"/Prev {first_mark + number - 1} 0 R " if number > 1 else ""
        target = first_page + 2 * (page - 1)
        objects.append(f"<< /Title ({title}) /Parent {first_mark} 0 R {around}/Dest [{target} 0 R /Fit] >>")
    raw = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(raw))
        raw += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(raw)}\n%%EOF\n"
    path.write_bytes(raw + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode())
    return path
