"""Classes that differ from those in the files: merged, renamed, dropped or ignored when the records are read.

CLASS_MAP of an entry of DATASETS.CUSTOM; docs/data.md has examples. Training, evaluation, checks and pictures get the
mapped classes alone.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from msgspec import Struct

from unified_seg.config import ConfigError
from unified_seg.structures.class_table import ClassTable, SegmentClass

Record = dict[str, Any]


class ClassMapEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CLASS_MAP of an entry. Each class of the files may be named once."""

    # Name of a class, in the files or new, to the names of classes that become it.
    MERGE: dict[str, tuple[str, ...]] = {}
    # Name in the files to the new name.
    RENAME: dict[str, str] = {}
    # Classes that are not labeled any more: their pixels are void, their objects are background.
    DROP: tuple[str, ...] = ()
    # Classes that neither train nor count: their pixels are void, their objects are regions in which an evaluation
    # counts no detection as wrong.
    IGNORE: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.MERGE or self.RENAME or self.DROP or self.IGNORE)

    def find_targets(self, names: Sequence[str], where: str) -> dict[str, str | None]:
        """Return the new name of each class that gets one, and None for those that are dropped or ignored.

        Args:
            names: of the classes in the files.
            where: the entry, for errors.

        Raises:
            ConfigError: an unknown class, or one that is named twice; a new name that another class has.
        """
        targets: dict[str, str | None] = {}
        for key, name, target in self._list_changes():
            if name not in names:
                close = difflib.get_close_matches(name, names, n=3)
                hint = f"did you mean {' or '.join(close)}?" if close else f"the classes are {', '.join(names)}"
                raise ConfigError(f"{where}: CLASS_MAP.{key}: unknown class {name!r}; {hint}")
            if name in targets:
                raise ConfigError(f"{where}: CLASS_MAP.{key}: the class {name!r} is named twice")
            targets[name] = target
        for old, new in self.RENAME.items():
            if new in {targets.get(name, name) for name in names if name != old}:
                raise ConfigError(
                    f"{where}: CLASS_MAP.RENAME: {old!r} can't become {new!r}, the name of another class; MERGE joins "
                    "classes"
                )
        return targets

    def _list_changes(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield key, class in the files and its new name, None for none."""
        for target, members in self.MERGE.items():
            yield from (("MERGE", name, target) for name in members)
        for name, target in self.RENAME.items():
            yield "RENAME", name, target
        yield from (("DROP", name, None) for name in self.DROP)
        yield from (("IGNORE", name, None) for name in self.IGNORE)


@dataclass(frozen=True)
class ClassMap:
    """The mapping of the classes of a data set's files to other ones.

    Attributes:
        source: the classes in the files.
        table: the mapped classes.
        targets: the mapped class of each class in the files, by its name; None for none.
        ignored: names of the classes whose objects become regions to ignore.
    """

    source: ClassTable
    table: ClassTable
    targets: dict[str, SegmentClass | None]
    ignored: frozenset[str]

    @classmethod
    def from_entry(cls, entry: ClassMapEntry, source: ClassTable, where: str) -> "ClassMap":
        """Return the mapping of an entry.

        A merged class has the id, the color and the category of the class with its name, else of its first one.

        Raises:
            ConfigError: see `ClassMapEntry.find_targets`; classes of which some are things and some are stuff are
                merged; no class is left.
        """
        names = [c.name for c in source.classes]
        new_names = entry.find_targets(names, where)
        groups: dict[str, list[SegmentClass]] = {}
        for c in source.classes:
            if (name := new_names.get(c.name, c.name)) is not None:
                groups.setdefault(name, []).append(c)
        if not groups:
            raise ConfigError(f"{where}: CLASS_MAP: no class is left")
        mapped: dict[str, SegmentClass] = {}
        for name, members in groups.items():
            if len({c.is_thing for c in members}) > 1:
                kinds = ", ".join(f"{c.name} ({'thing' if c.is_thing else 'stuff'})" for c in members)
                raise ConfigError(
                    f"{where}: CLASS_MAP.MERGE: {name}: either things or stuff can be merged, got {kinds}"
                )
            first = next((c for c in members if c.name == name), members[0])
            num_things = sum(c.is_thing for c in mapped.values())
            mapped[name] = replace(
                first,
                name=name,
                semantic_id=len(mapped),
                thing_id=num_things if first.is_thing else None,
                category=name if first.category == first.name else first.category,
            )
        table = ClassTable(mapped.values())
        found = {name: new_names.get(name, name) for name in names}
        targets = {name: None if target is None else mapped[target] for name, target in found.items()}
        return cls(source, table, targets, frozenset(entry.IGNORE))

    def map_records(self, records: Iterable[Record]) -> list[Record]:
        """Return the records with the mapped classes, in `sem_seg_values`, `segments_info` and `annotations`.

        Segments of one stuff class become one, and those without a class void: `replaced_segments` has the new id of
        each id in the PNG that changes, 0 for void; see `replace_segments`.
        """
        mapped: list[Record] = []
        values_of: dict[int, dict[int, int]] = {}
        for record in records:
            new = dict(record)
            if (values := record.get("sem_seg_values")) is not None:
                if id(values) not in values_of:
                    values_of[id(values)] = {value: self._semantic_ids[i] for value, i in values.items()}
                new["sem_seg_values"] = values_of[id(values)]
            if "segments_info" in record:
                new |= self._map_segments(record["segments_info"])
            if "annotations" in record:
                new["annotations"] = [made for each in record["annotations"] for made in self._map_annotation(each)]
            mapped.append(new)
        return mapped

    @cached_property
    def _semantic_ids(self) -> dict[int, int]:
        """The new semantic id of each one, and of the ignore label."""
        targets = {c.semantic_id: self.targets[c.name] for c in self.source.classes}
        void = self.table.ignore_label
        return {i: void if c is None else c.semantic_id for i, c in targets.items()} | {self.source.ignore_label: void}

    def _map_segments(self, infos: Sequence[Record]) -> Record:
        segments: list[Record] = []
        stuff: dict[int, Record] = {}
        replaced: dict[int, int] = {}
        for info in infos:
            target = self.targets[self.source.find_class(info["category_id"], bool(info["isthing"])).name]
            if target is None:
                replaced[info["id"]] = 0
                continue
            segment = {**info, "category_id": target.category_id}
            first = segment if target.is_thing or info.get("iscrowd") else stuff.setdefault(target.semantic_id, segment)
            if first is segment:
                segments.append(segment)
                continue
            replaced[info["id"]] = first["id"]
            area = first.pop("area", None)
            if area is not None and "area" in info:
                first["area"] = area + info["area"]
        return {"segments_info": segments, **({"replaced_segments": replaced} if replaced else {})}

    def _map_annotation(self, annotation: Record) -> list[Record]:
        """Return the annotation with its new class: none if it is dropped, one of each class if it is ignored."""
        name = self.source.things[annotation["category_id"]].name
        target = self.targets[name]
        if target is not None:
            return [{**annotation, "category_id": target.category_id}]
        if name not in self.ignored:
            return []
        region = {key: value for key, value in annotation.items() if key != "id"}
        return [{**region, "category_id": c.category_id, "iscrowd": 1} for c in self.table.things]
