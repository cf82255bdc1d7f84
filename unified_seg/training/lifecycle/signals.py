"""Signals that end a training: it finishes its step and writes a checkpoint first."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Of Ctrl-C, of job schedulers and of terminals that are closed; Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# torchrun passes on a signal that the terminal has sent to all processes before.
SECONDS_TO_REPEAT = 1.0


class TrainingStopped(SystemExit):
    """A signal ended the training; the exit status is 128 plus its number, as shells have it."""

    def __init__(self, number: int):
        super().__init__(128 + number)


class StopSignals:
    """Handlers that remember the first signal that ends the training; the second one ends the process at once.

    Attributes:
        number: of the signal; 0 before one.
    """

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0
        self._raises = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        self.number = 0
        for number in SIGNALS:
            # nohup ignores SIGHUP, and so does the training then.
            if signal.getsignal(number) != signal.SIG_IGN:
                try:
                    self._before[number] = signal.signal(number, self._handle)
                except ValueError:  # not the main thread, which alone gets signals
                    return self
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def raised_at_once(self) -> Iterator[None]:
        """Raise TrainingStopped in the block as soon as a signal comes, since it takes long and can be repeated."""
        self._raises = True
        try:
            if self.number:
                raise TrainingStopped(self.number)
            yield
        finally:
            self._raises = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._since = number, time.monotonic()
            name = signal.Signals(number).name
            # Logging is not safe here: the signal may have come while a line is logged.
            os.write(2, f"\n{name}: the training ends after this step; again: at once\n".encode())
            if hasattr(signal, "SIGCHLD"):
                # Workers that got the same signal end; PyTorch would raise an error for it in the middle of the step.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        elif time.monotonic() - self._since > SECONDS_TO_REPEAT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self._raises:
            self._raises = False
            raise TrainingStopped(self.number)
