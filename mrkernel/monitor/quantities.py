"""Numbers as people read them: bytes, counts, seconds. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def _scaled(number: float, units: tuple[str, ...]) -> str:
    """Write ``number``, two or three digits long, in the largest of ``units`` (each x 1000)."""
    scale = 0
    # 999.5 would be written as 1000 of its unit: it is 1.0 of the next.
    while abs(number) >= 999.5 and scale < len(units) - 1:
        number /= 1000
        scale += 1
    digits = 0 if scale == 0 or abs(number) >= 9.95 else 1
    text = f"{number:,.{digits}f}"
    return f"{text} {units[scale]}".rstrip()


def bytes_text(count: float) -> str:
    """Write a number of bytes: "512 B", "5.1 MB", "48 MB" (1 MB = 1,000,000 bytes)."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB", "PB"))


def count_text(count: float) -> str:
    """Write a count: "999", "4,018", "5.1 M". Up to 99,999 it is exact."""
    if abs(count) < 100_000:
        return f"{count:,.0f}"
    return _scaled(count, ("", "k", "M", "G", "T"))


def seconds_text(seconds: float) -> str:
    """Write a duration: "0.04 s", "4.2 s", "3 min 07 s", "2 h 05 min"."""
    if seconds < 0.995:
        return f"{max(seconds, 0.0):.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Write "1 map", "2 maps", "3 tries"."""
    return f"{count_text(count)} {noun if count == 1 else plural_noun or noun + 's'}"


def exactly(count: int, noun: str) -> str:
    """Write "1 pair", "5,123,456 pairs": every digit of it."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def names_text(names: Sequence[str], limit: int = 4) -> str:
    """Write a list of names: "map-1, map-2 and 6 more"."""
    if len(names) <= limit + 1:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"
