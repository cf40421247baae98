"""The table: a folder of Parquet files, one a shard. A shard that is there is whole, and done."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..boundary.reading import is_folder, opened, reason
from ..errors import OutputError, OvdeployError, needing
from ..files import atomic_path
from ..reporting import logger
from .columns import COLUMNS
from .rows import Row, is_failed

log = logger("batch")

SCHEMA = "ovdeploy/batch/1"
"""The form of the table. Columns may be added; what changes an old reader's meaning changes the number."""

FILE = re.compile(r"shard-(\d{8})\.parquet")
MOST_SHARDS = 10**8


class Told(NamedTuple):
    """What a shard says of itself."""

    rows: int
    failed: int


class Table:
    """The table in a folder.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        """A table; nothing is read or written yet.

        Args:
            folder: where it lies.
            columns: names of `COLUMNS`.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        with needing("pyarrow", "table", "a table of Parquet"):
            import pyarrow as pa
        fixed = {"shard": pa.int32(), "row": pa.int32(), "name": pa.string(), "sha256": pa.string(),
                 "error_type": pa.string(), "error": pa.string(), "height": pa.int32(), "width": pa.int32(),
                 "warnings": pa.list_(pa.string())}  # fmt: skip
        more = {name: COLUMNS[name].kind(pa) for name in columns}
        self.folder, self._pa = folder, pa
        self._schema = pa.schema(list({**fixed, **more}.items()))

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"shard-{number:08}.parquet"

    def done(self) -> Iterator[int]:
        """Numbers of the shards that are there."""
        if not is_folder(self.folder):
            return
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if found := FILE.fullmatch(entry.name):
                        yield int(found[1])
        except OSError as error:
            raise OutputError(f"{self.folder}: the folder cannot be read ({reason(error)})") from error

    def told(self, number: int) -> Told | None:
        """What a shard says of itself; None if it is no whole file of ours, and so counts as not done."""
        from pyarrow import parquet

        try:
            with opened(self.path(number), OutputError, "the shard") as file:
                found = parquet.read_metadata(file)
            said = found.metadata or {}
            if said[b"schema"] == SCHEMA.encode() and int(said[b"shard"]) == number:
                return Told(found.num_rows, int(said[b"failed"]))
        except (OvdeployError, OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors and OSErrors
            log.warning("%s is damaged, and made anew: %s", self.path(number), reason(error))
        return None

    def rows(self, number: int) -> list[Row]:
        """The rows of a shard.

        Raises:
            OutputError: it cannot be read.
        """
        from pyarrow import parquet

        try:
            with opened(self.path(number), OutputError, "the shard") as file:
                found: list[Row] = parquet.read_table(file).to_pylist()
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{self.path(number)} cannot be read ({reason(error)}); remove it to do it again"
            ) from error
        return [{name: value for name, value in row.items() if name != "shard"} for row in found]

    def write(self, number: int, rows: Iterable[Row]) -> None:
        """Write a shard, whole or not at all; the same rows give the same bytes.

        Args:
            number: of the shard.
            rows: in any order.

        Raises:
            FileError: the system refuses it.
        """
        from pyarrow import parquet

        ordered = sorted(rows, key=lambda row: int(row["row"]))
        said = {"schema": SCHEMA, "shard": str(number), "failed": str(sum(map(is_failed, ordered)))}
        values = [{"shard": number, **row} for row in ordered]
        table = self._pa.Table.from_pylist(values, schema=self._schema.with_metadata(said))
        with atomic_path(self.path(number)) as temporary:
            parquet.write_table(table, temporary, compression="zstd")

    def read(self) -> Any:
        """All of it, as a `pyarrow.Table`, in the order of shards.

        Raises:
            OutputError: a shard cannot be read.
        """
        from pyarrow import parquet

        tables = []
        for number in sorted(self.done()):
            with opened(self.path(number), OutputError, "the shard") as file:
                tables.append(parquet.read_table(file))
        return self._pa.concat_tables(tables) if tables else self._schema.empty_table()
