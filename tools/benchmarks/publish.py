"""Tables of measurements in a README."""

from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from unified_seg.reporting.readme import replace_table

from .harness import Measurement, format_memory, with_spread


def publish(readme: Path, command: str, measurements: Sequence[Measurement], machine: str) -> None:
    """Write the measurements of a sub-command between the markers benchmark-<command> of a README.

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
    notes = [f"{each.name}, {each.against}: {each.inputs}; equal: {each.equal}." for each in measurements]
    notes.append(
        f"`python tools/benchmark.py {command}`; medians of {measurements[0].repeats} calls each, in turn; in brackets "
        "quartiles of the ratios of pairs; MB: peak memory above the inputs."
    )
    notes.append(f"Machine: {machine}.")
    replace_table(readme, f"benchmark-{command}", "\n".join([table, "", *(f"- {note}" for note in notes)]))
