"""Jobs whose input is at a URL: the workers read it themselves."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from file_server import FileServer, serving
from refusals import matches, refused

import mrkernel
from mrkernel.errors import InputError, JobSpecError, TaskFailedError
from mrkernel.manager.facts import BlobKept
from mrkernel.manager.journal import read_journal
from mrkernel.manager.state_directory import JOURNAL

TEXT = "".join(f"word{n % 50} {'x' * (n % 9)}\n" for n in range(30_000)).encode()
WORDS = {f"word{n}": 600 for n in range(50)}


@pytest.fixture
def web() -> Iterator[FileServer]:
    with serving() as shop:
        shop.files = {"/in/a.txt": TEXT, "/in/b.txt": b"word1 x\n" * 40}
        yield shop


def mapper(line: str) -> Iterator[tuple[str, int]]:
    yield line.split()[0], 1


def test_a_job_over_urls(place: Any, web: FileServer) -> None:
    url = f"{web.url}/in/a.txt"
    result = mrkernel.run(mapper, url, "sum", on=place, split_size=60_000)
    assert result.to_dict() == WORDS
    both = mrkernel.run(mapper, f"{web.url}/in/*.txt", "sum", on=place)
    assert both.to_dict() == WORDS | {"word1": 640}
    web.files["/a.txt.gz"] = gzip.compress(TEXT)
    packed = mrkernel.run(mapper, f"{web.url}/a.txt.gz", "sum", on=place)
    assert packed.to_dict() == WORDS
    ranged = mrkernel.run(mapper, url, "sum", on=place, partitioner="range", split_size=60_000)
    assert list(ranged) == sorted(WORDS.items())


def test_names_of_inputs_and_another_file_system(
    place: Any, web: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text("id,name\n1,Ada\n2,Bob\n")
    web.files["/orders.csv"] = b"id,sum\n1,5\n1,7\n"

    def joining(source: str, record: dict[str, Any]) -> Iterator[Any]:
        yield record["id"], (source, record["name" if source == "people" else "sum"])

    given = [f"orders={web.url}/orders.csv", f"people=local://{tmp_path}/*.csv"]
    joined = mrkernel.run(joining, given, "set", on=place).to_dict()
    assert joined[1] == {("people", "Ada"), ("orders", 5), ("orders", 7)}
    assert joined[2] == {("people", "Bob")}


def test_a_url_of_this_process(cluster: Any) -> None:
    said = refused(cluster, JobSpecError, mapper, "memory://here/a.txt", "sum")
    assert matches("in the memory of this process, where no worker sees it: pass the items", said)


def test_a_record_at_a_url_that_fails(place: Any, web: FileServer) -> None:
    web.files["/bad.txt"] = TEXT + b"oh dear\n" + TEXT

    def failing(line: str) -> Iterator[tuple[str, int]]:
        if line == "oh dear":
            raise ValueError("dear me")
        yield line, 1

    said = refused(place, TaskFailedError, failing, f"{web.url}/bad.txt", "sum")
    assert matches(rf"{web.url}/bad\.txt, byte {len(TEXT)}", said)
    gone = refused(place, InputError, failing, f"{web.url}/nothing.txt", "sum")
    assert matches(r"there is no file http://.*/nothing\.txt", gone)


def test_programs_over_urls(cluster: Any, web: FileServer) -> None:
    kept = mrkernel.run("cat", f"{web.url}/in/b.txt", "none", on=cluster)
    assert len(kept) == 40
    with pytest.raises(TaskFailedError) as failed:
        mrkernel.run("false", f"{web.url}/in/b.txt", "none", on=cluster)
    assert failed.value.failure is not None
    hint = failed.value.failure.render()
    assert matches(rf"to see it again: curl -sL {web.url}/in/b\.txt \| false", hint)


def test_a_connection_that_is_cut_costs_tries_and_no_records(cluster: Any, web: FileServer) -> None:
    # The first body is what the client looked at, and a runner asks three times.
    web.cuts = range(2, 5)
    job = mrkernel.submit(mapper, f"{web.url}/in/a.txt", "sum", on=cluster, no_backup=True)
    assert job.result(30).to_dict() == WORDS
    feed = list(job.events())
    assert any("/in/a.txt does not answer" in text for text in feed), feed
    web.cuts = range(2, 1 << 20)
    web.bodies = 0
    said = refused(cluster, TaskFailedError, mapper, f"{web.url}/in/a.txt", "sum", attempts=1)
    assert matches(
        r"failed .* on w\d: http://.*/in/a\.txt does not answer \(.*\): check there", said
    )


@pytest.mark.fault(42)
def test_a_url_that_changes_while_it_is_read(place: Any, web: FileServer) -> None:
    url = f"{web.url}/in/a.txt"

    def meddling(line: str) -> Iterator[tuple[str, int]]:
        if line == "now":
            open_url(f"{url}?change")
        yield line, 1

    # What comes in one piece may change afterwards.
    web.files["/in/a.txt"] = TEXT * 4 + b"now\n" + TEXT * 4
    web.changes = "/in/a.txt"
    said = refused(place, TaskFailedError, meddling, url, "sum")
    assert matches(r"a\.txt changed after the job began.*run the job again", said)


def open_url(url: str) -> None:
    from urllib.request import urlopen

    urlopen(url).close()


def test_secrets_stay_in_the_functions(cluster: Any, web: FileServer) -> None:
    host = web.url.removeprefix("http://")
    url = f"http://me:Pa55w0rd@{host}/in/*.txt"
    signed = f"{web.url}/in/a.txt?X-Amz-Signature=51gnatur3"
    seen = []

    def noting(key: tuple[str, int], line: str) -> Iterator[tuple[str, int]]:
        yield key[0], 1

    job = mrkernel.submit(noting, [url, signed], "sum", on=cluster)
    counted = job.result(30).to_dict()
    assert sorted(counted) == [
        f"{web.url}/in/a.txt?X-Amz-Signature=…",
        f"http://me:…@{host}/in/a.txt",
        f"http://me:…@{host}/in/b.txt",
    ]
    secrets = ("Pa55w0rd", "51gnatur3")
    seen += [str(cluster.client.look(job.id)), *job.events()]
    seen += [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
    for home in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "JUPYTER_RUNTIME_DIR"):
        for path in Path(os.environ[home]).rglob("*"):
            # What the manager keeps of the functions is for those who run them.
            if path.name == JOURNAL:
                facts = [fact for fact in read_journal(path) if not isinstance(fact, BlobKept)]
                assert any(job.id in str(fact) for fact in facts)
                assert path.stat().st_mode & 0o077 == 0
                seen.append(str(facts))
            elif path.is_file() and "blobs" not in path.parts:
                seen.append(path.read_bytes().decode("latin-1"))
    assert len(seen) > 5
    for secret in secrets:
        assert not [text for text in seen if secret in text]
