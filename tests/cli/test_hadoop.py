"""Command lines of Hadoop Streaming and Madoop, as people have them in their shell's history."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import Run

MAP = "#!/usr/bin/env python3\nimport sys\nfor line in sys.stdin:\n    for word in line.split():\n        print(word, 1, sep='\\t')\n"  # noqa: E501
REDUCE = """#!/usr/bin/env python3
import itertools
import sys


def main():
    for word, group in itertools.groupby(sys.stdin, lambda line: line.partition("\\t")[0]):
        print(word, sum(int(line.partition("\\t")[2]) for line in group))


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def scripts(folder: Path) -> Path:
    """The folder with programs in a folder of their own, and inputs in two."""
    (folder / "src").mkdir()
    for name, text in (("map.py", MAP), ("reduce.py", REDUCE)):
        (folder / "src" / name).write_text(text)
        (folder / "src" / name).chmod(0o755)
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "part-00000").write_text(f"a b {name}\n")
        (folder / name / "_SUCCESS").write_text("not this\n")
    return folder


def rows(folder: Path) -> list[str]:
    return [
        line for part in sorted(folder.glob("part-*")) for line in part.read_text().splitlines()
    ]


COUNTS = ["a 2", "b 2", "one 1", "two 1"]


def test_a_command_line_of_hadoop(run: Run, scripts: Path) -> None:
    done = run("submit", "-D", "mapreduce.job.name=wc", "-Dmapred.map.tasks=2",
               "-files", "src/map.py,src/reduce.py", "-input", "one,two", "-output", "out",
               "-mapper", "map.py", "-reducer", "reduce.py", "-numReduceTasks", "3",
               "-inputformat", "org.apache.hadoop.mapred.TextInputFormat",
               "-cmdenv", "X=1", "-verbose")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(rows(scripts / "out")) == COUNTS
    assert len(list((scripts / "out").glob("part-*"))) == 3
    assert "wc: 2 maps and 3 reduces" in done.stderr
    assert "note: mapred.map.tasks is known to the programs, and to nobody else" in done.stderr


def test_what_a_program_counts_is_said_at_the_end(run: Run, scripts: Path) -> None:
    (scripts / "src" / "map.py").write_text(
        f"{MAP}print('reporter:counter:Text,lines,1200', file=sys.stderr)\n"
    )
    words = ("submit", "--on", "inline", "one", "two", "--mapper", "src/map.py", "--reducer", "cat")
    assert run(*words).stderr.splitlines()[-1] == "counted Text.lines: 2,400"
    assert "counted" not in run(*words, "--quiet").stderr


def test_python_named_before_its_script(run: Run, scripts: Path) -> None:
    (scripts / "src" / "map.py").chmod(0o644)
    done = run("submit", "--on", "inline", "-input", "one", "-output", "out", "-file", "src/map.py",
               "-mapper", "python3 map.py", "-reducer", "NONE")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert rows(scripts / "out") == ["a\t1", "b\t1", "one\t1"]


def test_a_command_line_of_madoop(run: Run, scripts: Path) -> None:
    done = run("submit", "--on", "inline", "-input", "one", "-output", "out",
               "-mapper", "src/map.py", "-reducer", "src/reduce.py")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(rows(scripts / "out")) == ["a 1", "b 1", "one 1"]


def test_without_output_the_lines_are_printed_as_they_are(run: Run, scripts: Path) -> None:
    done = run("submit", "--on", "inline", "--quiet", "one", "two", "--mapper", "src/map.py",
               "--combiner", "cat", "--reducer", "src/reduce.py",
               "--numReduceTasks", "1")  # fmt: skip
    assert (done.stdout, done.stderr) == ("".join(f"{row}\n" for row in COUNTS), "")
    none = run("submit", "--on", "inline", "--quiet", "one", "--mapper", "src/map.py",
               "--reducer", "src/reduce.py", "-numReduceTasks", "0")  # fmt: skip
    assert none.stdout == "a\t1\nb\t1\none\t1\n"


def test_a_failing_program_ends_with_what_to_type_to_see_it(run: Run, scripts: Path) -> None:
    (scripts / "one" / "part-00000").write_text("a b\n\tx\n")
    failing = MAP.replace("line.split():", "[line.split('x')[2]]:")
    (scripts / "src" / "map.py").write_text(failing)
    done = run("submit", "--on", "inline", "-input", "one", "-output", "out",
               "-mapper", "src/map.py", "-reducer", "src/reduce.py")  # fmt: skip
    assert done.returncode == 1
    assert "the mapper map.py ended with exit status 1 on" in done.stderr
    assert "IndexError: list index out of range" in done.stderr
    path = scripts / "one" / "part-00000"
    assert f"to see it again: src/map.py < {path}" in done.stderr
    assert not (scripts / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-mapper", "src/nosuch.py"], "there is no file src/nosuch.py in"),
        (["-mapper", "nosuch.py"], "there is no file nosuch.py in"),
        (["-mapper", "src/data.txt"], "does not say what runs it"),
        (["-mapper", "map.py"], "there is no file map.py in"),
        (["-mapper", "cat", "-inputformat", "x.SequenceFileInputFormat"], "is a Java class"),
        (["-mapper", "cat", "-file", "gone"], "--file gone: gone is not there"),
        (["-mapper", "cat", "-io", "typedbytes"], "-io is Hadoop's: programs read and write lines"),
        (["-mapper", "cat", "-background"], "-background is Hadoop's: let the shell do that"),
        (["-mapper", "cat", "-archives", "a.tgz"], "-archives is Hadoop's: nothing is unpacked"),
        (["lib/hadoop-streaming-3.jar", "-mapper", "cat"], "is Hadoop's: leave it out"),
        (["-mapper", "src/plain.py"], "so it is a program: --mapper 'python3 src/plain.py' runs"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_task(
    run: Run, scripts: Path, words: list[str], sentence: str
) -> None:
    (scripts / "src" / "data.txt").write_text("x\n")
    (scripts / "src" / "plain.py").write_text("import sys\nprint(sys.stdin.read())\n")
    done = run("submit", "-input", "one", "-output", "out", "-reducer", "cat", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "maps" not in done.stderr
    assert not re.search("Traceback", done.stderr)


def test_counting_by_hand_agrees(run: Run, folder: Path) -> None:
    for name, text in (("map.py", MAP), ("reduce.py", REDUCE)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    done = run("submit", "data.txt", "--on", "inline", "--quiet", "--mapper", "./map.py",
               "--reducer", "./reduce.py")  # fmt: skip
    counted = Counter((folder / "data.txt").read_text().split())
    assert sorted(done.stdout.splitlines()) == sorted(f"{w} {n}" for w, n in counted.items())
