"""Training goes on without a damaged file, and says so; with many it stops."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.reading import DataError, UnreadableError

Record = dict[str, Any]

logger = logging.getLogger(__name__)


class SkipUnreadable:
    """A mapper that puts another record, drawn at random, in the place of one with a file that can't be read.

    Each such file is logged once and listed in the ledger, which all processes of a run share: it counts across them,
    and is what a user mends files by.

    Args:
        mapper: raises UnreadableError for a damaged file.
        records: of the training set.
        ledger: a text file, begun anew here, with a line for each file.
        limit: how many files may be unreadable.
    """

    def __init__(self, mapper: Callable[[Record], Record], records: Sequence[Record], ledger: Path, limit: int):
        self.mapper = mapper
        self.records = records
        self.ledger = ledger
        self.limit = limit
        ledger.unlink(missing_ok=True)

    def __call__(self, record: Record) -> Record:
        """The record as the mapper gives it, or another.

        Raises:
            DataError: there are more unreadable files than the limit; or what the mapper raises but UnreadableError.
        """
        while True:
            try:
                return self.mapper(record)
            except UnreadableError as error:
                self._note(str(error))
            record = self.records[np.random.randint(len(self.records))]

    def _note(self, cause: str) -> None:
        line = " ".join(cause.split())
        known = self._listed()
        if line not in known:
            logger.warning(f"left out: {line}")
            known.add(line)
            self.ledger.parent.mkdir(parents=True, exist_ok=True)
            with self.ledger.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        if len(known) > self.limit:
            raise DataError(
                f"{len(known)} files of the training sets can't be read, DATASETS.MAX_UNREADABLE is {self.limit}; they "
                f"are listed in {self.ledger}, such as {line}"
            )

    def _listed(self) -> set[str]:
        return set(self.ledger.read_text(encoding="utf-8").splitlines()) if self.ledger.is_file() else set()
