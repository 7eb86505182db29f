"""The log of a process: sentences on standard error, and a file of one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrkernel.logs import JsonLines

TALK = """
import logging, os, sys
from mrkernel.logs import set_up

set_up("worker", *sys.argv[1:])
logger = logging.getLogger("mrkernel.worker")
for level in ("debug", "info", "warning"):
    getattr(logger, level)("%s said", level, extra={"fields": {"n": 1}})
logging.getLogger("tornado").info("not ours")
if not os.fork():
    logger.warning("a child\\nof two lines")
    os._exit(0)
os.wait()
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("it broke")
"""


def talk(*words: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", TALK, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return run.stderr


def test_standard_error_has_what_is_wrong_and_the_file_more(tmp_path: Path) -> None:
    said = talk("", str(tmp_path / "{process}.jsonl"))
    assert "debug said" not in said
    assert "info said" not in said
    assert "mrkernel.worker: warning said\n" in said
    lines = [json.loads(line) for line in (tmp_path / "worker.jsonl").read_text().splitlines()]
    assert [line["message"] for line in lines] == [
        "info said",
        "warning said",
        "a child\nof two lines",
        "it broke",
    ]
    first = lines[0]
    assert (first["level"], first["process"], first["logger"]) == (
        "info",
        "worker",
        "mrkernel.worker",
    )
    assert first["n"] == 1
    assert first["at"].endswith("+00:00")
    assert len({line["pid"] for line in lines}) == 2
    assert "ZeroDivisionError" in lines[-1]["error"]


def test_the_environment_says_it_as_well(tmp_path: Path) -> None:
    path = tmp_path / "log-{pid}"
    said = talk(MRKERNEL_LOG_LEVEL="DEBUG", MRKERNEL_LOG_FILE=str(path))
    assert "mrkernel.worker: debug said" in said
    assert "not ours" not in said
    (file,) = tmp_path.iterdir()
    assert file.name.removeprefix("log-").isdecimal()
    assert "debug said" in file.read_text()


def test_what_cannot_be_rendered_is_still_a_line() -> None:
    record = logging.LogRecord("mrkernel", 20, "", 0, "lone \udc80", (), None)
    record.fields = {"what": object()}
    line = json.loads(JsonLines("x").format(record))
    assert line["what"].startswith("<object")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--log-level", "loud"], "--log-level 'loud': write debug, info, warning or error"),
        (["--log-file", "/nowhere/log"], "--log-file /nowhere/log cannot be written: No such"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(words: list[str], said: str) -> None:
    for command in (["journal", *words, "j1"], [*words, "journal", "j1"]):
        run = subprocess.run(
            [sys.executable, "-m", "mrkernel", *command], capture_output=True, text=True
        )
        assert run.returncode == 2
        assert said in run.stderr
