"""Options of the fusions that let regions grow, and the rules in pixels that follow from them."""

import math
from dataclasses import dataclass

from unified_seg_arrays.class_table import ClassTable
from unified_seg_arrays.fusion.region_growing import check_connectivity
from unified_seg_arrays.fusion.steps import Rules


@dataclass(frozen=True)
class SemanticGuidedOptions:
    """Options of the semantic-guided fusion and of that by evidence; areas are fractions of the image.

    Attributes:
        score_threshold: instances with a lower score take no part, in [0, 1].
        overlap_threshold: an instance is dropped if more than this fraction of it is already assigned, in [0, 1].
        min_stuff_area: smaller stuff becomes void, in [0, 1].
        min_segment_area: smaller foreground that no instance reaches is not found, in [0, 1].
        connectivity: 4 or 8 neighbors, for region growing and connected components.

    Raises:
        ValueError: an option is out of range.
    """

    score_threshold: float = 0.5
    overlap_threshold: float = 0.5
    min_stuff_area: float = 0.002
    min_segment_area: float = 0.0005
    connectivity: int = 4

    def __post_init__(self) -> None:
        for name in ("score_threshold", "overlap_threshold", "min_stuff_area", "min_segment_area"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        check_connectivity(self.connectivity)


def make_rules(options: SemanticGuidedOptions, table: ClassTable, num_pixels: int) -> Rules:
    """Return the rules for an image of this many pixels."""
    label_identifies_thing = len(set(table.thing_to_semantic.tolist())) == table.num_things
    return Rules(
        region_of=(table.category_of + 1) * table.is_thing,
        ignore_label=table.ignore_label,
        score_threshold=options.score_threshold,
        overlap_threshold=options.overlap_threshold,
        min_segment_area=options.min_segment_area * num_pixels if label_identifies_thing else math.inf,
        min_stuff_area=options.min_stuff_area * num_pixels,
        connectivity=options.connectivity,
    )
