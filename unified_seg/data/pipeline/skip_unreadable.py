"""Training goes on without a few damaged files, which are logged and listed; with many it stops."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.problems import DataError, UnreadableError

Record = dict[str, Any]

DRAWS = 100  # of records in a row that are all unreadable

logger = logging.getLogger(__name__)


class SkipUnreadable:
    """A mapper that replaces a record with an unreadable file by another one, drawn at random.

    Each such file is logged once and listed in the ledger, a file that all processes of a run share: its lines count
    for the limit, and tell the user which files to fix.

    Args:
        mapper: raises UnreadableError for an unreadable file.
        records: of the training set.
        ledger: a text file with a line for each unreadable file; removed when a run starts.
        limit: how many files may be unreadable.
    """

    def __init__(self, mapper: Callable[[Record], Record], records: Sequence[Record], ledger: Path, limit: int):
        self.mapper = mapper
        self.records = records
        self.ledger = ledger
        self.limit = limit

    def __call__(self, record: Record) -> Record:
        """Return the mapped record, or that of another one.

        Raises:
            DataError: more unreadable files than the limit; or another error of the mapper.
        """
        for _ in range(DRAWS):
            try:
                return self.mapper(record)
            except UnreadableError as error:
                self._add_to_ledger(str(error))
            record = self.records[np.random.randint(len(self.records))]
        raise DataError(f"{DRAWS} records drawn from the training sets are unreadable; see {self.ledger}")

    def _add_to_ledger(self, cause: str) -> None:
        # The name of a file may not be valid text.
        line = " ".join(cause.split()).encode("utf-8", "backslashreplace").decode()
        known = self._read_ledger()
        if line not in known:
            logger.warning(f"left out: {line}")
            known.add(line)
            self.ledger.parent.mkdir(parents=True, exist_ok=True)
            with self.ledger.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        if len(known) > self.limit:
            raise DataError(
                f"DATASETS.MAX_UNREADABLE: {len(known)} files of the training sets are unreadable, the limit is "
                f"{self.limit}; they are listed in {self.ledger}, such as {line}"
            )

    def _read_ledger(self) -> set[str]:
        return set(self.ledger.read_text(encoding="utf-8").splitlines()) if self.ledger.is_file() else set()
