"""Parquet and Arrow files, a batch of rows at a time. pyarrow is loaded only when such a file is there."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance.visible import on_one_line

_ROWS = 1024


class ColumnarFault(Exception):  # noqa: N818 - a reason for one file
    """Why a Parquet or Arrow file can't be read further."""


def _plain(value: Any) -> Any:
    """A value as JSON could hold it: times as text, maps as objects, bytes as text where they are."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
            return {str(key): _plain(one) for key, one in value}
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value


def columnar_rows(
    path: Path, kind: str, on_share: Callable[[float], None] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, an Arrow file or an Arrow stream (as `datasets` caches are).

    Args:
        path: the file.
        kind: `parquet` or `arrow`.
        on_share: told after each batch which share of the file has been read.

    Raises:
        ColumnarFault: damaged, or of a kind that pyarrow doesn't know.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if kind == "parquet":
            with pq.ParquetFile(path) as file:
                total = max(1, file.metadata.num_rows)
                done = 0
                for batch in file.iter_batches(batch_size=_ROWS):
                    done += batch.num_rows
                    yield from _batch_rows(batch)
                    on_share(done / total)
            return
        with pa.OSFile(str(path)) as source:  # a mapped file that is cut off would end the program
            size = max(1, source.size())
            head = source.read(6)
            source.seek(0)
            if head == b"ARROW1":
                reader = pa.ipc.open_file(source)
                for number in range(reader.num_record_batches):
                    yield from _batch_rows(reader.get_batch(number))
                    on_share((number + 1) / reader.num_record_batches)
                return
            for batch in pa.ipc.open_stream(source):
                yield from _batch_rows(batch)
                on_share(source.tell() / size)
    except (pa.ArrowException, OSError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ColumnarFault(on_one_line(str(error), 200)) from error


def _batch_rows(batch: Any) -> Iterator[dict[str, Any]]:
    batch.validate(full=True)  # offsets beyond a damaged file's data would be followed
    for start in range(0, batch.num_rows, _ROWS):
        yield from map(_plain, batch.slice(start, _ROWS).to_pylist())
