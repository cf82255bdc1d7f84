"""What hostile files are made of, and the registry of their kinds.

A folder `outside` beside the files of a payload holds a secret; whoever opens it has left the folder of the payload.
Code that a payload would run writes a file there.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Writes the files of a payload; returns the name of a function of payload_readers.py and its argument.
Payload = Callable[[random.Random, Path, Path], tuple[str, Any]]
PAYLOADS: dict[str, Payload] = {}


def payload(function: Payload) -> Payload:
    PAYLOADS[function.__name__] = function
    return function


class Call:
    """An object that is pickled as a call, which unpickling makes."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def harm(draw: random.Random, outside: Path) -> Call:
    """Return an object whose unpickling would write a file."""
    proof = str(outside / "executed")
    return draw.choice(
        [
            Call(os.system, f"touch {proof}"),
            Call(open, proof, "w"),
            Call(eval, f"open({proof!r}, 'w')"),
            Call(os.mkdir, proof),
        ]
    )


def command(draw: random.Random, outside: Path) -> str:
    """Return an expression that would write a file."""
    proof = outside / "executed"
    return draw.choice(
        [
            f"__import__('os').system('touch {proof}')",
            f"open('{proof}', 'w')",
            f"[x for x in (open('{proof}', 'w'),)]",
            f"(lambda: open('{proof}', 'w'))()",
            f"$(touch {proof})",
            f"`touch {proof}`",
            f"; touch {proof}",
            "(" * draw.randint(50, 5000),
            "[" * 300 + "]" * 300,
            "9" * draw.randint(5, 6000),
            "-" * draw.randint(1, 3000) + "1",
            "\x1b]0;title\x07",
        ]
    )


def traversal(draw: random.Random, outside: Path, name: str) -> str:
    """Return a name that leads to a file in `outside`."""
    up = draw.choice(["../", "./../", "a/../../", "..//", "..\\"])
    return draw.choice(
        [f"{up}outside/{name}", str(outside / name), f"file://{outside / name}", f"{up}outside/./{name}"]
    )


def mutate(draw: random.Random, data: bytes) -> bytes:
    """Return bytes with some changed, cut, doubled or put in."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        if not content:
            break
        place = draw.randrange(len(content))
        action = draw.randrange(4)
        if action == 0:
            content[place] = draw.randrange(256)
        elif action == 1:
            del content[place : place + draw.randint(1, 50)]
        elif action == 2:
            content[place:place] = content[place : place + draw.randint(1, 50)]
        else:
            content[place:place] = draw.choice(
                [b"\0", b"\xff\xff\xff\xff", b"1e999", b"NaN", b"[[[[", b"*a", b"!!", b"\x1b[2J"]
            )
    return bytes(content)


def write_eps(path: Path, outside: Path) -> None:
    path.write_text(
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({outside}/executed) (w) file closefile\n%%EOF\n"
    )
