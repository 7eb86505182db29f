"""Jobs of programs on every engine, against the shell's ``cat | map | sort | reduce``."""

from __future__ import annotations

import contextlib
import gzip
import random
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import mrkernel
from mrkernel.config import JobOptions
from mrkernel.engines.hadoop import applied
from mrkernel.engines.result import JobResult
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.job.files import load_function
from mrkernel.worker.pipes import Conversation

MAP = """#!/bin/sh
tr -s ' ' '\\n' | awk 'NF { print $1 "\\t1" }'
"""
REDUCE = """#!/bin/sh
awk -F '\\t' '$1 != word { if (NR > 1) print word "\\t" sum; word = $1; sum = 0 }
    { sum += $2 } END { if (NR) print word "\\t" sum }'
"""
Submit = Callable[..., JobResult]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two texts, a mapper and a reducer, where the job is submitted."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(6)
    words = [f"w{int(chance.paretovariate(0.7))}" for _ in range(20_000)]
    (tmp_path / "in").mkdir()
    for name, some in (("a.txt", words[:12_000]), ("b.txt", words[12_000:])):
        lines = [" ".join(some[at : at + 7]) for at in range(0, len(some), 7)]
        (tmp_path / "in" / name).write_text("\n".join(lines))  # the last line has no end
    write("map.sh", MAP)
    write("reduce.sh", REDUCE)
    return tmp_path


def write(name: str, text: str) -> None:
    Path(name).write_text(text)
    Path(name).chmod(0o755)


@pytest.fixture
def run(place: Any, folder: Path) -> Submit:
    """Run a job of programs named by text."""

    def run_(mapper: str, reducer: str = "none", inputs: Any = "in", **options: Any) -> JobResult:
        for role in ("combiner", "partitioner"):
            if options.get(role) not in (None, "range"):
                options[role] = load_function(options[role], role)
        made = load_function(mapper, "mapper"), load_function(reducer, "reducer")
        return mrkernel.run(made[0], inputs, made[1], on=place, **options)

    return run_


def lines_of(result: JobResult) -> list[bytes]:
    return b"".join(map(bytes, result.lines())).splitlines(keepends=True)


def shell(line: str) -> list[bytes]:
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True)
    return done.stdout.splitlines(keepends=True)


def test_word_count_is_what_the_shell_counts(run: Submit) -> None:
    result = run("map.sh", "reduce.sh", reduce_tasks=3, split_size=20_000)
    real = shell("(cat in/a.txt; echo; cat in/b.txt) | ./map.sh | LC_ALL=C sort | ./reduce.sh")
    assert sorted(lines_of(result)) == sorted(real)
    assert result.to_dict()[b"w1"].isdigit()
    again = run("map.sh", "reduce.sh", combiner="reduce.sh", split_size=20_000)
    assert sorted(lines_of(again)) == sorted(real)


def test_bytes_come_out_as_they_went_in(run: Submit, folder: Path) -> None:
    lines = [
        b"no tab",
        b"",
        b"a tab\t",
        b"\t",
        b"two\ttabs\t!",
        b"\xff\xfe\t\x00",
        b"carriage\tx\r",
    ]
    (folder / "odd").write_bytes(b"\n".join(lines))
    for reducer in ("none", "cat"):
        result = run("cat", reducer, "odd")
        assert sorted(lines_of(result)) == sorted(line + b"\n" for line in lines)
        paths = result.save(f"out-{reducer}")
        saved = b"".join(path.read_bytes() for path in paths)
        assert sorted(saved.splitlines(keepends=True)) == sorted(line + b"\n" for line in lines)
    assert sorted(result)[-1] == (b"\xff\xfe", b"\x00")


def test_keys_come_in_the_order_of_their_bytes_and_values_in_that_of_the_input(run: Submit) -> None:
    Path("pairs").write_text("".join(f"{k}\t{n}\n" for n, k in enumerate("bBa-bé~a" * 3)))
    result = run("cat", "cat", "pairs", reduce_tasks=1)
    rows = Path("pairs").read_bytes().splitlines(keepends=True)
    assert lines_of(result) == sorted(rows, key=lambda row: row.split(b"\t")[0])


def test_secondary_sort(run: Submit) -> None:
    rows = [f"s{n % 5}.{n * 7 % 100:03}.x\n" for n in range(200)]
    Path("rows").write_text("".join(rows))
    result = run(
        "cat",
        "cat",
        "rows",
        reduce_tasks=3,
        define=[
            "stream.map.output.field.separator=.",
            "stream.num.map.output.key.fields=2",
            "num.key.fields.for.partition=1",
        ],
    )
    expected = {row.replace(".x", "\tx").encode() for row in rows}
    home: dict[bytes, int] = {}
    for part in range(3):
        keys = [key for key, _ in result.part(part)]
        assert keys == sorted(keys)
        for key in keys:
            assert home.setdefault(key.partition(b".")[0], part) == part
    lines = lines_of(result)
    assert set(lines) == expected
    assert len(home) == 5


def test_no_reducer_means_map_only_also_by_the_setting_of_hadoop(run: Submit) -> None:
    result = run("map.sh", "reduce.sh", define=["mapred.reduce.tasks=0", "mapred.job.name=maps"])
    assert lines_of(result) == shell("(cat in/a.txt; echo; cat in/b.txt) | ./map.sh")
    assert result.name == "maps"


def test_counters_and_words_on_standard_error(run: Submit) -> None:
    write(
        "count.sh",
        "#!/bin/sh\necho reporter:counter:Words,Seen,$(wc -w) >&2\n"
        "echo reporter:status:half way >&2\necho 'reporter:counter:odd' >&2\n",
    )
    assert run("count.sh", "cat").counters == {"Words.Seen": 20_000}


def test_what_programs_find_in_their_environment(run: Submit, folder: Path) -> None:
    write("env.sh", '#!/bin/sh\ncat >/dev/null\nenv | grep -a "_" | sed "s|^|$map_input_file |"\n')
    result = run(
        "env.sh", reduce_tasks=None, name="my job", cmdenv=["CITY=Oslo_"], define=["my.own-x=3"]
    )
    found: dict[str, dict[str, str]] = {}
    for line in lines_of(result):
        path, _, rest = line.decode().strip().partition(" ")
        name, _, value = rest.partition("=")
        found.setdefault(Path(path).name, {})[name] = value
    assert set(found) == {"a.txt", "b.txt"}
    for name, known in found.items():
        path = folder / "in" / name
        assert known["mapreduce_map_input_file"] == known["map_input_file"] == str(path)
        assert known["map_input_start"] == known["mapreduce_map_input_start"] == "0"
        assert known["map_input_length"] == str(path.stat().st_size)
        assert known["mapreduce_job_name"] == known["mapred_job_name"] == "my job"
        number = int(known["mapreduce_task_partition"])
        assert known["mapreduce_task_id"].endswith(f"_m_{number:06}")
        assert known["mapred_tip_id"] == known["mapreduce_task_id"]
        assert known["mapreduce_task_attempt_id"].startswith("attempt_")
        assert known["mapred_task_id"] == known["mapreduce_task_attempt_id"]
        assert known["mapreduce_task_ismap"] == known["mapred_task_is_map"] == "true"
        assert known["mapreduce_task_is_map"] == "true"
        assert known["mapreduce_job_reduces"] == known["mapred_reduce_tasks"] == "0"
        assert known["mapreduce_job_maps"] == known["mapred_map_tasks"] == "2"
        assert (known["CITY"], known["my_own_x"]) == ("Oslo_", "3")


def test_files_lie_where_the_program_runs(run: Submit, folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "stop.txt").write_text("w1\nw2\n")
    write("skip.sh", "#!/bin/sh\ntr ' ' '\\n' | grep -vxFf words.txt; touch mine; ls\n")
    result = run("skip.sh", file=["lists/stop.txt#words.txt"])
    lines = set(lines_of(result))
    assert b"w3\n" in lines
    assert not {b"w1\n", b"w2\n"} & lines
    assert {b"words.txt\n", b"skip.sh\n", b"mine\n"} <= lines
    assert not (folder / "mine").exists()


def test_a_file_reaches_functions_as_well(place: Any, folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "stop.txt").write_text("w1\n")

    def mapper(line: str) -> Any:
        with open("stop.txt") as file:
            yield file.read(), 1

    result = mrkernel.run(mapper, iter(["x"]), "sum", file="lists/stop.txt", on=place)
    assert result.to_dict() == {"w1\n": 1}


def test_a_partitioner_says_where_each_key_goes(run: Submit) -> None:
    write(
        "even.py",
        "#!/usr/bin/env python3\nimport sys\ncount = int(sys.argv[1])\n"
        "for line in sys.stdin:\n    key, value = line.split('\\t')\n"
        "    print(int(key[1:]) % 2 % count)\n",
    )
    result = run("map.sh", "reduce.sh", partitioner="even.py", reduce_tasks=2)
    for part in range(2):
        keys = [int(key[1:]) for key, _ in result.part(part)]
        assert keys
        assert {key % 2 for key in keys} == {part}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("head -n 1 | sed s/.*/0/", "printed 1 numbers for"),
        ("sed s/.*/two/", "printed 'two': it must print a number from 0 to 1"),
        ("sed s/.*/2/", "printed '2': it must print a number from 0 to 1"),
        ("sed s/.*/-1/", "printed '-1'"),
        ("sed s/.*/99999999999999999999999/", "printed '9999"),
    ],
)
def test_a_partitioner_that_makes_no_sense(run: Submit, text: str, sentence: str) -> None:
    write("odd.sh", f"#!/bin/sh\n{text}\n")
    with pytest.raises(TaskFailedError, match=sentence):
        run("map.sh", "cat", partitioner="odd.sh", reduce_tasks=2)


def failed(run: Submit, *words: Any, **options: Any) -> Any:
    with pytest.raises(TaskFailedError) as error:
        run(*words, **options)
    return error.value


def test_a_failing_mapper_is_told_with_its_last_words_its_file_and_how_to_see_it_again(
    run: Submit, folder: Path
) -> None:
    bad = folder / "in" / "b.txt"
    bad.write_text(bad.read_text().replace("w1 ", "bad ", 1))
    write(
        "map.sh",
        "#!/bin/sh\nwhile read -r line; do case $line in *bad*) echo first >&2; "
        "echo no: $line in $mapreduce_map_input_file >&2; exit 3;; esac; done\n",
    )
    error = failed(run, "map.sh", "cat")
    failure = error.failure
    assert "the mapper map.sh ended with exit status 3" in str(error)
    assert str(bad) in str(error)
    assert "bad" in failure.sentence
    assert failure.message.startswith("first\nno: ")
    assert (failure.role, failure.where) == ("mapper", str(bad))
    again = failure.hint.partition("to see it again: ")[2]
    assert again == f"mapreduce_map_input_file={bad} ./map.sh < {bad}"
    seen = subprocess.run(["/bin/sh", "-c", again], capture_output=True, text=True)
    assert (seen.returncode, seen.stderr.strip()) == (3, failure.message.strip())


def test_another_exit_status_than_0_may_be_no_failure(run: Submit) -> None:
    write("map.sh", "#!/bin/sh\ngrep -w w1; exit 3\n")
    result = run("map.sh", define=["stream.non.zero.exit.is.failure=false"])
    assert lines_of(result) == shell("grep -hw w1 in/a.txt in/b.txt")
    assert "exit.is.failure=false" in failed(run, "grep nosuchword", "cat").failure.hint


def test_the_timeout_of_hadoop_is_in_milliseconds() -> None:
    def given(text: str, **more: Any) -> float | None:
        options = JobOptions(define=[f"mapred.task.timeout={text}"], **more)
        return applied(options, "cat")[0].timeout

    assert (given("600000"), given("0"), given("500", timeout=3.0)) == (600.0, None, 3.0)


def test_in_the_middle_of_a_file_the_same_bytes_are_given_again(run: Submit) -> None:
    text = "".join(f"line {number}\n" for number in range(3000)) + "bad\n"
    Path("long").write_text(text)
    write("map.sh", "#!/bin/sh\nif grep -n bad >&2; then exit 1; fi\n")
    failure = failed(run, "map.sh", "cat", "long", split_size=8000).failure
    again = failure.hint.partition("to see it again: ")[2]
    assert again.startswith("tail -c +")
    seen = subprocess.run(["/bin/sh", "-c", again], capture_output=True, text=True)
    assert (seen.returncode, seen.stderr.strip()) == (1, failure.message.strip())


def test_a_failing_reducer_names_the_pipeline(run: Submit) -> None:
    write("reduce.sh", "#!/bin/sh\ncat >/dev/null\ncat nosuch.txt\n")
    failure = failed(run, "map.sh", "reduce.sh").failure
    assert "the reducer reduce.sh ended with exit status 1: cat: nosuch.txt: No such" in str(
        failure.sentence
    )
    assert "files that it opens travel with --file" in failure.hint
    assert failure.hint.endswith("cat in/* | ./map.sh | LC_ALL=C sort | ./reduce.sh")


def test_a_signal_is_a_crash_and_tried_again(run: Submit, folder: Path) -> None:
    mark = folder / "tried"
    write(
        "map.sh", f"#!/bin/sh\ncat > /dev/null; [ -e {mark} ] && exit 0; touch {mark}; kill -9 $$"
    )
    assert lines_of(run("map.sh", "cat")) == []
    write("map.sh", "#!/bin/sh\nkill -SEGV $$\n")
    error = failed(run, "map.sh", "cat", attempts=2)
    assert "the mapper map.sh was ended by SIGSEGV" in str(error)


def test_programs_and_functions_go_together(place: Any, run: Submit) -> None:
    cat, counting = load_function("cat", "reducer"), load_function("map.sh", "mapper")
    result = mrkernel.run(lambda line: [(line, 1.5)], iter(["b", "a", "b"]), cat, on=place)
    assert sorted(lines_of(result)) == [b"a\t1.5\n", b"b\t1.5\n", b"b\t1.5\n"]
    result = mrkernel.run(counting, "in", lambda word, ones: sum(map(int, ones)), on=place)
    assert sum(result.to_dict().values()) == 20_000
    assert all(type(word) is bytes for word in result.to_dict())


def test_items_and_samples(run: Submit, place: Any) -> None:
    cat = load_function("cat", "mapper")
    result = mrkernel.run(cat, iter(["a b", b"\xff\tx", 3, {"k": 1}]), "none", on=place)
    assert lines_of(result) == [b"a b\n", b"\xff\tx\n", b"3\n", b'{"k": 1}\n']
    sample = run("cat", sample=2)
    assert len(sample) == 4


def test_no_input_is_no_line(run: Submit) -> None:
    Path("empty").write_bytes(b"")
    assert lines_of(run("map.sh", "reduce.sh", "empty")) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"define": ["x"]}, "-D x: write -D name=value"),
        ({"define": ["mapred.reduce.tasks=x"]}, "write a whole number from 0"),
        ({"define": ["stream.map.output.field.separator=ab"]}, "write a single character"),
        ({"define": ["mapred.text.key.comparator.options=-k2nr"]}, "sorted by their bytes here"),
        ({"define": ["mapred.text.key.partitioner.options=-k2,2"]}, "write -k1,N"),
        ({"define": ["mapred.task.timeout=1s"]}, "write a whole number from 0"),
        ({"define": ["stream.non.zero.exit.is.failure=0"]}, "write true or false"),
        ({"cmdenv": ["x"]}, "write --cmdenv NAME=VALUE"),
        ({"file": ["nosuch"]}, "nosuch is not there"),
        ({"file": ["in"]}, "in is no file"),
        ({"file": ["in/a.txt#../a"]}, "what stands behind # is a name in the task's folder"),
        ({"file": ["in/a.txt", "in/b.txt#a.txt"]}, "two different files are called a.txt"),
        ({"batch": True}, "--batch is for functions, and a program reads lines"),
        ({"on_error": "skip"}, "--on-error skip is for functions"),
        ({"sort_values": True}, "make what to sort by a part of the key"),
        ({"partitioner": "range"}, "--partitioner range is for functions"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Submit, options: Any, sentence: str) -> None:
    with pytest.raises(JobSpecError) as error:
        run("map.sh", "cat", **options)
    assert sentence in str(error.value)


def test_one_file_is_sorted_where_each_part_is(run: Submit) -> None:
    result = run("map.sh", "reduce.sh", reduce_tasks=3, output="counts.txt")
    real = shell("(cat in/a.txt; echo; cat in/b.txt) | ./map.sh | LC_ALL=C sort | ./reduce.sh")
    # The shell compares whole lines, and a tab comes before all that words have.
    assert Path("counts.txt").read_bytes() == b"".join(real)
    assert lines_of(result) == real


def test_commands_are_texts_in_python(place: Any, folder: Path) -> None:
    result = mrkernel.run("./map.sh", "in", "./reduce.sh", combiner="reduce.sh", on=place)
    assert sum(int(count) for _, count in result) == 20_000
    with pytest.raises(JobSpecError, match=r"there is no file \./nosuch\.sh"):
        mrkernel.run("./nosuch.sh", "in", "sum", on=place)


def test_each_of_many_small_files_has_a_program_of_its_own(run: Submit) -> None:
    Path("small").mkdir()
    for number in range(40):
        Path("small", f"{number:02}.txt").write_text(f"line of {number:02}")
    write("named.sh", '#!/bin/sh\nsed "s|$|\t${mapreduce_map_input_file##*/}|"\n')
    expected = [f"line of {number:02}\t{number:02}.txt\n".encode() for number in range(40)]
    assert lines_of(run("named.sh", inputs="small")) == expected


def test_packed_files_reach_a_program_unpacked(run: Submit, folder: Path) -> None:
    text = b"".join(b"\xff line %d\n" % number for number in range(50_000))
    (folder / "t.txt.gz").write_bytes(gzip.compress(text))
    assert b"".join(lines_of(run("cat", inputs="t.txt.gz"))) == text
    write("map.sh", "#!/bin/sh\ngrep -c line >&2; exit 1\n")
    failure = failed(run, "map.sh", "cat", "t.txt.gz").failure
    again = failure.hint.partition("to see it again: ")[2]
    assert again == f"gzip -dc {folder / 't.txt.gz'} | ./map.sh"
    assert failure.message == "50000"


def test_a_process_left_in_the_background_is_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortly = partial(Conversation, linger_s=0.2)
    monkeypatch.setattr("mrkernel.worker.programs.Conversation", shortly)
    write("map.sh", "#!/bin/sh\ncat >/dev/null\nsleep 300 &\necho $!\n")
    result = mrkernel.run(load_function("map.sh", "mapper"), "in/a.txt", "none", on="inline")
    for line in lines_of(result):
        with contextlib.suppress(psutil.NoSuchProcess):
            assert psutil.Process(int(line)).status() == psutil.STATUS_ZOMBIE


def test_the_result_of_a_job_goes_through_programs(run: Submit) -> None:
    counted = run("map.sh", "reduce.sh")
    swap = load_function("awk '{ print $2 \"\\t\" $1 }'", "mapper")
    swapped = counted.mapreduce(swap, load_function("cat", "reducer"))
    assert sorted((value, key) for key, value in swapped) == sorted(counted)
