"""Programs on a command line: what is one, what travels with it, and what is refused at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mrkernel.errors import JobSpecError
from mrkernel.job.commands import defines, find_program
from mrkernel.job.files import load_function
from mrkernel.job.program import Program


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(name: str, text: str = "#!/bin/sh\ncat\n", mode: int = 0o755) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def found(text: str, role: str = "mapper", files: tuple[str, ...] = ()) -> Program:
    program = find_program(text, role, files)
    assert program is not None
    return program


def test_a_script_of_this_folder_travels() -> None:
    script("map.sh")
    program = found("map.sh")
    assert program.words == ("./map.sh",)
    assert [(file.name, file.executable) for file in program.files] == [("map.sh", True)]
    assert (program.text, program.__name__) == ("./map.sh", "map.sh")
    assert found("./map.sh").words == ("./map.sh",)


def test_below_this_folder_it_keeps_its_path_and_from_elsewhere_its_name(folder: Path) -> None:
    script("bin/map.sh")
    assert found("bin/map.sh").words == ("./bin/map.sh",)
    absolute = str(folder / "bin" / "map.sh")
    assert found(absolute).words == ("./map.sh",)
    assert found(absolute).text == absolute


def test_a_path_with_spaces_is_one_word() -> None:
    script("my map.sh")
    assert found("my map.sh").words == ("./my map.sh",)


def test_commands_of_the_system_stay_and_files_in_their_words_travel() -> None:
    script("words.awk", "{ print }", 0o644)
    program = found("awk -F '\\t' -f words.awk")
    assert program.words == ("awk", "-F", "\\t", "-f", "words.awk")
    assert [file.name for file in program.files] == ["words.awk"]
    assert program.__name__ == "words.awk"
    assert found("cat").files == ()
    assert found(str(shutil.which("cat"))).files == ()


def test_a_shipped_file_is_named_by_its_own_name_as_hadoop_has_it() -> None:
    script("src/map.py", "#!/usr/bin/env python3\n")
    program = found("map.py", files=("src/map.py",))
    assert program.words == ("./map.py",)
    assert program.text == "src/map.py"
    with_python = found("python3 map.py", files=("src/map.py",))
    assert with_python.words == ("python3", "map.py")
    assert with_python.text == "python3 src/map.py"


@pytest.mark.parametrize(
    ("name", "text", "mode", "sentence"),
    [
        ("a.sh", "#!/bin/sh\n", 0o644, "a.sh may not be run: chmod +x a.sh"),
        ("a b.sh", "#!/bin/sh\n", 0o644, "a b.sh may not be run: chmod +x 'a b.sh'"),
        ("a.sh", "cat\n", 0o755, "a.sh does not say what runs it: make #!/bin/sh"),
        ("a.sh", "", 0o755, "a.sh does not say what runs it"),
        ("a.sh", "#!/bin/sh\r\ncat\r\n", 0o755, "end as on Windows"),
        ("a.sh", "#!\n", 0o755, "the first line of a.sh names no program"),
        ("a.sh", "#!/bin/nosuch -x\n", 0o755, "begins with #!/bin/nosuch -x, and there is no /bin"),
        ("a.py", "#!/usr/bin/env -S nosuch3 -u\n", 0o755, "there is no command nosuch3 here"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(
    name: str, text: str, mode: int, sentence: str
) -> None:
    script(name, text, mode)
    with pytest.raises(JobSpecError) as error:
        find_program(name, "mapper")
    assert f"--mapper {name}: " in str(error.value)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cut -f1 | sort", "put the line into a script"),
        ("cat > out", "put the line into a script"),
        ("awk '{print", "there is no closing quotation"),
        ("./nosuch.sh", "there is no file ./nosuch.sh"),
        ("nosuch -x", "there is no file and no command nosuch here"),
    ],
)
def test_what_is_no_program_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(JobSpecError, match=sentence):
        load_function(text, "mapper")


def test_quoted_pipes_are_no_pipes() -> None:
    assert found("grep -E 'a|b'").words == ("grep", "-E", "a|b")
    assert found("awk '{print $1 > 0}'").words == ("awk", "{print $1 > 0}")


@pytest.mark.parametrize(
    ("source", "is_ours"),
    [
        ("def mapper(line): yield line, 1", True),
        ("from words import mapper", True),
        ("from words import *", True),
        ("mapper = str.split", True),
        ("class mapper: pass", True),
        ("import sys\nfor line in sys.stdin: print(line)", False),
        ("def mapper(): pass\nmapper()", False),
        ("def main():\n    def mapper(line): pass", False),
        ("def mapper(", False),
    ],
)
def test_a_python_file_is_read_and_not_run_to_see_what_it_is(source: str, is_ours: bool) -> None:
    path = script("m.py", f"#!/usr/bin/env python3\n{source}\nraise SystemExit(9)\n")
    assert defines(path, "mapper") is is_ours


def test_a_python_file_with_the_function_is_a_module_and_one_without_a_program() -> None:
    script("f.py", "#!/usr/bin/env python3\ndef mapper(line): yield line, 1\n")
    script("p.py", "#!/usr/bin/env python3\nimport sys\nsys.stdout.write(sys.stdin.read())\n")
    assert callable(load_function("f.py", "mapper"))
    assert load_function("p.py", "mapper").words == ("./p.py",)
    script("p.py", "#!/usr/bin/env python3\n", 0o644)
    with pytest.raises(JobSpecError, match=r"p\.py may not be run"):
        load_function("p.py", "mapper")


def test_names_of_ours_stay_names() -> None:
    for name in ("sum", "top:3", "none", "identity", "summ"):
        assert load_function(name, "reducer") == name
    assert load_function("NONE", "reducer") == "none"


def test_names_of_hadoops_classes() -> None:
    mapper = load_function("org.apache.hadoop.mapred.lib.IdentityMapper", "mapper")
    assert mapper.words == ("cat",)
    fields = "org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner"
    assert load_function(fields, "partitioner") is None
    with pytest.raises(JobSpecError, match="is a Java class, which only Hadoop can run"):
        load_function("org.apache.hadoop.mapred.lib.LongSumReducer", "reducer")
