"""``%mr_chaos`` in a real kernel: now, in a background job, and for the job to come."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from kernels import Kernel

SLOW = """
def mapper(number):
    time.sleep(0.05)
    yield number % 5, 1
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("notebook"))
    assert kernel.run("%load_ext mrkernel\nimport time").ok
    assert kernel.run("cluster = %mr_cluster start 2").ok
    yield kernel
    kernel.close()


def test_it_happens_at_once_while_a_job_runs_in_the_background(notebook: Kernel) -> None:
    ran = notebook.run(
        "%%mapreduce {range(40)} --split-size 1 --reducer sum --background --into job" + SLOW
    )
    assert ran.ok, ran
    ran = notebook.run("%mr_chaos kill --seed 3")
    assert re.fullmatch(r"killed w[12]\n", ran.out), ran
    assert notebook.value("job.result(20).to_dict() == dict.fromkeys(range(5), 8)") == "True"
    feed = notebook.value("[line['text'] for line in job.last_picture()['feed']]")
    assert "SIGKILL" in feed


def test_it_waits_for_its_moment_in_the_next_job(notebook: Kernel) -> None:
    ran = notebook.run("%mr_chaos restart_manager --at 50%")
    assert ran.out == "at 50% of the next job: kill the manager\n", ran
    ran = notebook.run("%%mapreduce {range(40)} --split-size 1 --reducer sum --into counts" + SLOW)
    assert ran.ok, ran
    assert notebook.value("counts.to_dict() == dict.fromkeys(range(5), 8)") == "True"
    assert any("manager restarted" in line["text"] for line in ran.picture["feed"])


def test_freeze_and_slow(notebook: Kernel) -> None:
    assert notebook.run("name = next(iter(cluster.living_workers()))").ok
    name = notebook.value("name").strip("'")
    ran = notebook.run(f"%mr_chaos freeze {name} --seconds 0.5")
    assert ran.out == f"froze {name} for 0.5 s\n"
    ran = notebook.run(f"%mr_chaos slow {name} --factor 3")
    assert ran.out == f"made {name} 3 times slower\n"
    ran = notebook.run("%mr_chaos slow {name} --factor 1")  # a variable of the notebook
    assert ran.out == f"{name} runs at full speed\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "kill|freeze|slow|restart_manager"),
        ("burn", "burn"),
        ("kill w2 --at 150%", "--at 150%: write a share"),
        ("kill w2 --att 50%", "--at"),
        ("restart_manager w1", "takes no worker"),
        ("kill w99", "no worker 'w99' lives here; living: "),
        ("kill {nobody}", "{nobody}: nothing in this notebook is called nobody"),
        ("slow --factor 0.5", "write how many times slower"),
    ],
)
def test_a_slip_is_one_sentence(notebook: Kernel, line: str, said: str) -> None:
    ran = notebook.run(f"%mr_chaos {line}")
    assert said in ran.trace + ran.err, ran
    assert "Traceback" not in ran.trace
