"""Training goes on without a damaged file, and says so; with many it stops."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.problems import DataError, UnreadableError

Record = dict[str, Any]

DRAWS = 100  # more in a row are no accident

logger = logging.getLogger(__name__)


class SkipUnreadable:
    """A mapper that puts another record, drawn at random, in the place of one with a file that can't be read.

    Each such file is logged once and listed in the ledger, which all processes of a run share: it counts across them,
    and is what a user mends files by.

    Args:
        mapper: raises UnreadableError for a damaged file.
        records: of the training set.
        ledger: a text file with a line for each file; who starts a run removes it.
        limit: how many files may be unreadable.
    """

    def __init__(self, mapper: Callable[[Record], Record], records: Sequence[Record], ledger: Path, limit: int):
        self.mapper = mapper
        self.records = records
        self.ledger = ledger
        self.limit = limit

    def __call__(self, record: Record) -> Record:
        """The record as the mapper gives it, or another.

        Raises:
            DataError: there are more unreadable files than the limit; or what the mapper raises but UnreadableError.
        """
        for _ in range(DRAWS):
            try:
                return self.mapper(record)
            except UnreadableError as error:
                self._note(str(error))
            record = self.records[np.random.randint(len(self.records))]
        raise DataError(f"none of {DRAWS} records drawn from the training sets can be read; {self.ledger} lists some")

    def _note(self, cause: str) -> None:
        # As it will be read again: a file's name may be no text.
        line = " ".join(cause.split()).encode("utf-8", "backslashreplace").decode()
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
