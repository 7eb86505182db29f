"""URLs as everybody may see them, and what is said of those that fail."""

from __future__ import annotations

import pickle

import pytest

from mrkernel.data.addresses import (
    address_of,
    hidden,
    is_url,
    keep,
    last_name,
    learn,
    plain_name,
    scrubbed,
)
from mrkernel.data.file_systems import refusal
from mrkernel.errors import InputError, InputUnreachableError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a.txt", "https://host/a.txt"),
        ("https://host/a.txt?v=2&page=3", "https://host/a.txt?v=2&page=3"),
        ("sftp://me@host/a", "sftp://me@host/a"),
        ("abfs://container@account.dfs.core.windows.net/a", None),
        ("sftp://me:pw@host/a", "sftp://me:…@host/a"),
        ("https://ghp_0123@host/a", "https://…@host/a"),
        ("https://h/a?X-Amz-Credential=A%2FB&X-Amz-Date=1&X-Amz-Signature=f00", None),
        ("https://h/a?sv=1&sig=f00%3D", "https://h/a?sv=1&sig=…"),
        ("https://h/a#access_token=f00", "https://h/a#access_token=…"),
        ("zip://a.csv::https://me:pw@h/a.zip", "zip://a.csv::https://me:…@h/a.zip"),
        ("/a/b?token=1", "/a/b?token=1"),  # a file of this machine
        ("file:///a?token=1", "file:///a?token=1"),
    ],
)
def test_secrets_are_hidden(url: str, shown: str | None) -> None:
    expected = {
        "abfs": url,
        "https": "https://h/a?X-Amz-Credential=…&X-Amz-Date=1&X-Amz-Signature=…",
    }
    assert hidden(url) == (shown or expected[url.partition(":")[0]])
    assert hidden(hidden(url)) == hidden(url)


def test_what_is_a_url() -> None:
    assert is_url("s3://bucket/a")
    assert is_url("local:///a")
    for path in ("/a/b", "a:/b", "file:///a", "a=s3://b", "C://a", "://a"):
        assert not is_url(path), path
    assert plain_name("https://h/a.csv?b=c.gz#d") == "https://h/a.csv"
    assert plain_name("/a.csv?b") == "/a.csv?b"
    assert last_name("https://h/in/a.csv?b=/c") == "a.csv"


def test_urls_that_differ_in_secrets_stay_apart() -> None:
    kept: dict[str, str] = {}
    one, two = "https://h/get?key=one-file", "https://h/get?key=another"
    assert keep(one, kept) == keep(one, kept) == "https://h/get?key=…"
    assert keep(two, kept) == "https://h/get?key=…2"
    assert keep("https://h/plain", kept) == "https://h/plain"
    assert kept == {"https://h/get?key=…": one, "https://h/get?key=…2": two}
    learn([("https://h/get?key=…", two)])  # of another job
    assert address_of("https://h/get?key=…") == two
    assert address_of("https://h/plain") == "https://h/plain"


def test_what_others_say_is_scrubbed() -> None:
    url = "https://me:p%40ssword@h/a?sig=f00f00"
    said = f"no way to {url}: p@ssword and p%40ssword are wrong, and so is f00f00"
    assert scrubbed(said, url) == (f"no way to {hidden(url)}: … and … are wrong, and so is …")


class NoCredentialsError(Exception):
    """As a library of a store has it."""


@pytest.mark.parametrize(
    ("error", "said", "elsewhere"),
    [
        (NoCredentialsError("none found"), "may not be read.*none found.*credentials", True),
        (PermissionError("Access Denied"), "may not be read.*Access Denied", True),
        (FileNotFoundError("s3://b/a"), "vanished after the job began", False),
        (TimeoutError(), r"does not answer \(TimeoutError\)", True),
        (OSError("SlowDown"), r"does not answer \(SlowDown\)", True),
    ],
)
def test_what_fails_in_a_task(error: Exception, said: str, elsewhere: bool) -> None:
    refused = refusal(error, "s3://b/a", began=True)
    with pytest.raises(InputError, match=f"s3://b/a {said}"):
        raise refused
    assert isinstance(refused, InputUnreachableError) == elsewhere
    assert str(pickle.loads(pickle.dumps(refused))) == str(refused)
