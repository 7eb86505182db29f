"""``mrkernel submit``: what it writes, what it says, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Served


def test_output_is_part_files_and_a_manifest(run: Run, folder: Path) -> None:
    done = run("submit", "--input", "data.txt", "--output", "out", "--map", "mapper.py",
               "--reduce", "reducer.py", "--reduce-tasks", "3")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"3 pairs in {folder / 'out'}\n"
    parts = sorted((folder / "out").glob("part-*"))
    lines = [line for part in parts for line in part.read_text().splitlines()]
    assert sorted(lines) == ["a\t2", "b\t2", "c\t1"]
    manifest = json.loads((folder / "out" / "_SUCCESS").read_text())
    assert [part["name"] for part in manifest["parts"]] == [part.name for part in parts]


def test_without_output_the_pairs_are_printed_in_key_order(run: Run) -> None:
    done = run("submit", "data.txt", "--map", "mapper.py:mapper", "--reduce", "sum")
    assert (done.returncode, done.stdout) == (0, "a\t2\nb\t2\nc\t1\n")


def test_inputs_with_names_are_joined(run: Run, folder: Path) -> None:
    for name, lines in (
        ("people", "1,Ada\n2,Bob\n"),
        ("orders-a", "1,5\n3,9\n"),
        ("orders-b", "1,7\n"),
    ):
        (folder / f"{name}.csv").write_text(f"id,what\n{lines}")
    (folder / "join.py").write_text(
        "def mapper(source, record):\n    yield record['id'], (source, record['what'])\n\n"
        "def reducer(id, found):\n"
        "    for name in [what for source, what in found if source == 'people']:\n"
        "        yield name, sorted(what for source, what in found if source == 'orders')\n"
    )
    functions = ("--map", "join.py", "--reduce", "join.py", "--quiet")
    done = run(
        "submit", "--input", "orders=orders-*.csv", "--input", "people=people.csv", *functions
    )
    assert (done.returncode, done.stdout) == (0, "Ada\t[5, 7]\nBob\t[]\n"), done.stderr
    some = run("submit", "--input", "orders=orders-*.csv", "--input", "people.csv", *functions)
    assert some.returncode == 2
    assert "some inputs have a name (orders=) and people.csv has none" in some.stderr


def test_a_pipe_gets_plain_lines(run: Run) -> None:
    done = run("submit", "data.txt", "--map", "mapper.py", "--reduce", "sum")
    assert "\x1b" not in done.stdout + done.stderr
    assert re.search(r"done in [0-9.]+ s", done.stderr)
    assert "started a cluster inside this session" in done.stderr


def test_what_was_skipped_is_said_beside_the_pairs(run: Run, folder: Path) -> None:
    (folder / "n.py").write_text("def mapper(line):\n    yield 'sum', int(line)\n")
    (folder / "numbers.txt").write_text("1\nx\n3\n")
    words = ("submit", "numbers.txt", "--map", "n.py", "--reduce", "sum", "--quiet")
    done = run(*words, "--on-error", "skip:1")
    assert (done.returncode, done.stdout) == (0, "sum\t4\n")
    where = f"{folder / 'numbers.txt'}, byte 2"
    assert done.stderr.endswith(
        f"mrkernel: skipped 1 bad record:\n{where}: ValueError: invalid literal for int() with "
        "base 10: 'x'\n"
    )
    assert run(*words).returncode == 1
    wrong = run(*words, "--on-error", "ignore")
    assert wrong.returncode == 2
    assert "--on-error ignore: write fail, skip or skip:N" in wrong.stderr


def test_quiet_says_nothing_but_the_pairs(run: Run) -> None:
    done = run("submit", "data.txt", "--map", "mapper.py", "--reduce", "sum", "--quiet")
    assert (done.stdout, done.stderr) == ("a\t2\nb\t2\nc\t1\n", "")


@pytest.mark.fault(33)
@pytest.mark.parametrize("where", ["inline", "local"])
def test_a_mapper_that_raises_shows_the_users_lines_the_record_and_its_place(
    run: Run, folder: Path, where: str
) -> None:
    (folder / "data.txt").write_text("one\n" * 30 + "two\n")
    (folder / "bad.py").write_text(
        "def mapper(line):\n    if line == 'two':\n        check(line)\n    yield line, 1\n\n"
        "def check(line):\n    return int(line)\n"
    )
    done = run("submit", "data.txt", "--map", "bad.py", "--reduce", "sum", "--on", where)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ValueError: invalid literal for int() with base 10: 'two'" in done.stderr
    assert re.search(r"bad\.py, line 3, in mapper\n\s+check\(line\)", done.stderr)
    assert re.search(r"bad\.py, line 7, in check\n\s+return int\(line\)", done.stderr)
    assert "data.txt, byte 120" in done.stderr
    assert "record: 'two'" in done.stderr
    told = done.stderr[done.stderr.index("mrkernel: job ") :]
    assert told.count("mapper raised ValueError") == 1
    assert done.stderr.endswith("next: --on-error skip goes on without such records\n")
    assert "site-packages" not in done.stderr
    assert "mrkernel/worker" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.txt", "--map", "mapper.py"], "has no reducer: write def reducer"),
        (["--map", "mapper.py", "--reduce", "sum"], "no input: add --input data.txt"),
        (["data.txt", "--reduce", "sum"], "no mapper: add --map mapper.py"),
        (["dat.txt", "--map", "mapper.py", "--reduce", "sum"], "did you mean data.txt?"),
        (["data.txt", "--map", "maper.py", "--reduce", "sum"], "there is no file maper.py"),
        (["data.txt", "--map", "reducer.py", "--reduce", "sum"], "no mapper in reducer.py"),
        (["data.txt", "--map", "mapper.py", "--reduce", "summ"], "did you mean 'sum'?"),
        (["data.txt", "--map", "mapper.py", "--reducers", "sum"], "did you mean --reducer?"),
        (["data.txt", "--map", "mapper.py", "--red", "sum"], "there is no --red"),
        (["data.txt", "--map", "mapper.py", "--reduce", "sum", "--reduce-tasks", "0"],
         "--reduce-tasks 0: write a whole number from 1"),
        (["data.txt", "--map", "mapper.py", "--reduce", "sum", "--on", "127.0.0.1:1"],
         "no manager of yours at 127.0.0.1:1"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence(run: Run, words: list[str], said: str) -> None:
    done = run("submit", *words)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if "--on" in words else 2)


@pytest.mark.fault(31)
def test_an_output_that_exists_is_left_alone_until_told(run: Run, folder: Path) -> None:
    job = ["submit", "data.txt", "--map", "mapper.py", "--reduce", "sum", "--output", "out"]
    (folder / "out").mkdir()
    (folder / "out" / "mine").write_text("precious")
    refused = run(*job, "--overwrite")
    assert refused.returncode == 2
    assert (folder / "out" / "mine").read_text() == "precious"
    (folder / "out" / "mine").unlink()
    (folder / "out").rmdir()
    assert run(*job).returncode == 0
    again = run(*job)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert run(*job, "--overwrite").returncode == 0


@pytest.mark.fault(11)
def test_an_interrupt_cancels_the_job_and_ends_with_130(folder: Path, served: Served) -> None:
    (folder / "slow.py").write_text(
        "import time\ndef mapper(line):\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "    yield line, 1\n"
    )
    command = [sys.executable, "-m", "mrkernel.submit", "data.txt", "--map", "slow.py"]
    command += ["--reduce", "sum", "--on", served.address]
    submit = subprocess.Popen(
        command,
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ),
    )
    assert submit.stderr is not None
    for line in submit.stderr:
        if "begun" in line:
            break
    submit.send_signal(signal.SIGINT)
    rest = submit.stderr.read()
    assert submit.wait(5) == 130, rest
    submit.stderr.close()
    jobs = served.client.look("cluster")["jobs"]
    assert list(jobs.values())[-1]["state"] == "cancelled"


def test_environment_variables_are_options_too(run: Run, folder: Path) -> None:
    done = run("submit", "data.txt", "--map", "mapper.py", "--reduce", "sum", "--output", "out",
               MRKERNEL_REDUCE_TASKS="1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.name for path in sorted((folder / "out").glob("part-*"))] == ["part-00000"]
