"""Labels: the identity of a series, as name and value pairs sorted by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

METRIC_NAME: Final = "__name__"


class Labels:
    """An immutable, hashable label set; a label with an empty value counts as absent.

    Pairs are unique by name and sorted by the names' code points (for valid Unicode this is the
    order of their UTF-8 bytes, which is Prometheus' order).
    """

    __slots__ = ("_hash", "pairs")

    pairs: tuple[tuple[str, str], ...]

    def __init__(self, pairs: tuple[tuple[str, str], ...] = ()) -> None:
        """Wrap pairs that are sorted, unique and without empty values already."""
        self.pairs = pairs
        self._hash = hash(pairs)

    @classmethod
    def of(cls, labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
        """Build from pairs in any order; of equal names the last wins, empty values are dropped."""
        unique = dict(labels)
        return cls(tuple(sorted((n, v) for n, v in unique.items() if v)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self.pairs == other.pairs

    def __lt__(self, other: Labels) -> bool:
        return self.pairs < other.pairs

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        inner = ", ".join(f"{n}={v!r}" for n, v in self.pairs)
        return f"Labels({{{inner}}})"

    def get(self, name: str, default: str = "") -> str:
        """The value of a label, or `default` where the series lacks it."""
        for label_name, value in self.pairs:
            if label_name == name:
                return value
        return default

    def as_dict(self) -> dict[str, str]:
        return dict(self.pairs)

    def keep(self, names: frozenset[str]) -> Labels:
        """Only the labels with these names."""
        return Labels(tuple(p for p in self.pairs if p[0] in names))

    def drop(self, names: frozenset[str]) -> Labels:
        """All labels but those with these names."""
        return Labels(tuple(p for p in self.pairs if p[0] not in names))

    def with_label(self, name: str, value: str) -> Labels:
        """These labels with one set, or removed where the value is empty."""
        return Labels.of((*(p for p in self.pairs if p[0] != name), (name, value)))
