"""Who may see the manager's page: its token, its cookie, and the names that it answers to.

Whoever has the cluster's secret can work out the page's token, and no one can get back from it. A
browser shows the token once, in the address, and gets a cookie for it, another secret; both are the
same after the manager was restarted, so that an open page goes on.

A page of somebody else's must not speak in its reader's name. Its requests carry no cookie
(SameSite), and if they did, their ``Origin`` would tell; a name that somebody else points at this
machine (DNS rebinding) is none that we answer to.
"""

from __future__ import annotations

from hmac import compare_digest

from mrkernel.security.token import derived


class Access:
    """Judges what requests carry.

    Args:
        secret: the cluster's.
        host, port: where the page listens.
    """

    def __init__(self, secret: bytes, host: str, port: int) -> None:
        self.cookie_name = f"mrkernel-{port}"  # browsers keep the cookies of all ports together
        self.cookie = derived(secret, "web cookie")
        self._token = derived(secret, "web page")
        names = {host if ":" not in host else f"[{host}]", "127.0.0.1", "localhost", "[::1]"}
        self._hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())

    def answers_to(self, host: str) -> bool:
        """Whether a ``Host`` header names us."""
        return host.lower() in self._hosts

    def is_own(self, origin: str, host: str) -> bool:
        """Whether an ``Origin`` header names a page of ours, on the name that was asked."""
        return origin.lower() == f"http://{host.lower()}"

    def takes_token(self, token: str) -> bool:
        """Whether that is the page's token; takes as long for any."""
        return _same(token, self._token)

    def takes_cookie(self, cookie: str) -> bool:
        """Whether that is the cookie; takes as long for any."""
        return _same(cookie, self.cookie)


def _same(told: str, right: str) -> bool:
    return compare_digest(told.encode(errors="replace"), right.encode())
