"""The file systems of fsspec: reaching one, and saying why it cannot be reached."""

from __future__ import annotations

import re
from typing import Any

from mrkernel.data.addresses import address_of, hidden, scrubbed
from mrkernel.errors import InputError, InputUnreachableError, JobSpecError

#: Modules whose package has another name.
_PACKAGES = {"smbclient": "smbprotocol", "huggingface_hub": "huggingface-hub"}
#: Seconds until a web server that says nothing is taken for gone. There is no limit for a file.
_CONNECT_S, _SILENT_S = 20.0, 60.0
#: Answers of web servers: there is no such file; it is not for us; ask again later.
_GONE, _FORBIDDEN, _LATER = (404, 410), (401, 403, 407), (408, 425, 429)


def reach(url: str) -> tuple[Any, str]:
    """Find the file system of a URL, and what the URL is called there.

    Options and credentials are those of fsspec: its configuration files, ``FSSPEC_*``, and what the
    file system itself reads of the environment.

    Raises: JobSpecError: there is no such file system, or its package is missing here.
    """
    import fsspec.core

    try:
        scheme = url.partition("://")[0]
        options = _for_the_web(scheme) if scheme in ("http", "https") else {}
        fs, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        name = missing.name if isinstance(missing, ModuleNotFoundError) else None
        if name is None:
            said = f"cannot be reached: {scrubbed(str(error), url)}"
        else:
            package = _PACKAGES.get(name.partition(".")[0], name.partition(".")[0])
            said = f"needs the package {package}, which is not here: pip install {package}"
        raise JobSpecError(f"{hidden(url)} {said}") from missing
    except Exception as error:  # noqa: BLE001 - each file system has its own
        said = scrubbed(str(error) or type(error).__name__, url)
        raise JobSpecError(f"{hidden(url)} cannot be reached: {said}") from None
    return fs, path


def _for_the_web(scheme: str) -> dict[str, Any]:
    """How web servers are asked: as curl does, through a proxy and with passwords of ~/.netrc."""
    try:
        import aiohttp
        from fsspec.config import conf
    except ImportError as error:
        raise ModuleNotFoundError(str(error), name="aiohttp") from None
    own = conf.get(scheme, {}).get("client_kwargs", {})
    patience = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENT_S)
    # What is sent is to have the length and the places that the server told.
    headers = {"Accept-Encoding": "identity"} | dict(own.get("headers", {}))
    return {"client_kwargs": {"timeout": patience, "trust_env": True, **own, "headers": headers}}


def is_web(fs: Any) -> bool:
    """Whether a file system is that of http and https."""
    return "https" in fs.protocol


def refusal(error: Exception, path: str, *, began: bool = False) -> InputError:
    """Say why an input at a URL cannot be read, in whatever way its file system says so.

    Args:
        path: as people may see it.
        began: the job has begun, and here is a worker: it could be read before.

    Returns: an ``InputUnreachableError`` if another try, or another machine, may help.
    """
    if isinstance(error, InputError):
        return error
    cause = _true_cause(error)
    status = getattr(cause, "status", None)
    told = getattr(cause, "message", "") if isinstance(status, int) else ""
    if isinstance(status, int):
        reason = f"{status} {told}".strip()
    else:
        cause = getattr(cause, "os_error", cause)  # without what the web library says around it
        reason = getattr(cause, "strerror", None) or str(cause).partition("\n")[0]
        reason = scrubbed(reason, address_of(path))
        # Some say the name of the file and nothing else.
        reason = type(cause).__name__ if reason in ("", path) else reason
    if isinstance(cause, FileNotFoundError) or status in _GONE:
        if began:
            said = "vanished after the job began: put it back and run the job again"
            return InputError(f"{path} {said}", path)
        return InputError(f"there is no file {path}: check the address", path)
    refused = isinstance(status, int) and 400 <= status < 500 and status not in _LATER
    unknown = re.search("Credential|Authent", type(cause).__name__) is not None
    if isinstance(cause, PermissionError) or unknown or status in _FORBIDDEN:
        said = f"{path} may not be read ({reason}): check your credentials, or ask for a new link"
        if began:
            said = f"{path} may not be read from here ({reason}): check the worker's credentials"
            return InputUnreachableError(said, path)
    elif refused:
        said = f"{path} is refused by its server ({reason}): check the address"
    else:
        where = "there and the way from the worker" if began else "the address and the network"
        return InputUnreachableError(f"{path} does not answer ({reason}): check {where}", path)
    return InputError(said, path)


def _true_cause(error: BaseException) -> BaseException:
    """What was wrong: for the web's, whatever happens is that there is no such file."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None:
        return error
    of_the_web = type(cause).__module__.partition(".")[0] == "aiohttp"
    known = isinstance(cause, (OSError, TimeoutError)) and not isinstance(cause, FileNotFoundError)
    return cause if of_the_web or known else error
