"""Make a folder of CSV files: one per campus, a line per student, with a batch year and a score.

python examples/years/make_years.py years --files 20 --students 5000
"""

import argparse
import csv
import random
from pathlib import Path


def make_years(folder: Path, files: int, students: int, seed: int = 13) -> None:
    """Write the files; the same ones for the same arguments."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for campus in range(files):
        with (folder / f"campus-{campus:03d}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["student_id", "name", "batch_year", "score"])
            for number in range(students):
                year = chance.randint(2000, 2024)
                score = round(min(100.0, max(0.0, chance.gauss(62 + (year - 2000) / 2, 12))), 2)
                rows.writerow([campus * 100_000 + number, f"Student {number:05d}", year, score])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--students", type=int, default=5000)
    asked = parser.parse_args()
    make_years(asked.folder, asked.files, asked.students)
