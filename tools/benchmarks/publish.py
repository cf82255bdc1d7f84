"""Tables of measurements in a README."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from unified_seg.reporting.readme import replace_table

from .harness import Measurement, format_memory, with_spread

OUTPUTS = ("--into", "--json")


def format_command(words: Sequence[str]) -> str:
    """Return the command line that measured, without the files that it writes."""
    kept = [
        word
        for before, word in zip(["", *words], words)
        if before not in OUTPUTS and word.partition("=")[0] not in OUTPUTS
    ]
    return shlex.join(["python", "tools/benchmark.py", *kept])


def publish(
    readme: Path,
    name: str,
    measurements: Sequence[Measurement],
    machine: str,
    words: Sequence[str],
    notes: Sequence[str] = (),
) -> None:
    """Write the measurements of a sub-command between the markers benchmark-<name> of a README.

    Args:
        readme: the file.
        name: of the sub-command.
        measurements: its rows.
        machine: in words.
        words: of the command line.
        notes: further lines under the table.

    Raises:
        DataError: the file or the markers are missing.
    """
    columns = {
        "what": [each.name for each in measurements],
        "against": [each.against for each in measurements],
        "method, ms": [f"{each.method_ms:.3g}" for each in measurements],
        "peer, ms": [f"{each.peer_ms:.3g}" for each in measurements],
        "peer / method": [with_spread(each.ratio, each.ratio_quartiles, ".3g") for each in measurements],
        "method, MB": [format_memory(each.method_peak_mb, ".3g") for each in measurements],
        "peer, MB": [format_memory(each.peer_peak_mb, ".3g") for each in measurements],
    }
    table = tabulate(columns, headers="keys", tablefmt="github", disable_numparse=True)
    lines = [f"{each.name}, {each.against}: {each.inputs}; equal: {each.equal}." for each in measurements]
    lines += [
        *notes,
        f"`{format_command(words)}`; medians of {measurements[0].repeats} calls each, in turn; in brackets "
        "quartiles of the ratios of pairs; MB: peak memory above the inputs.",
        f"Machine: {machine}.",
    ]
    replace_table(readme, f"benchmark-{name}", "\n".join([table, "", *(f"- {line}" for line in lines)]))
