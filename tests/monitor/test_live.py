"""Waiting for a picture."""

from __future__ import annotations

import threading

from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.picture import Json


def test_who_waits_for_a_picture_is_woken_by_what_comes() -> None:
    picture = LivePicture()
    looked: list[Json] = []

    def wanted(now: Json) -> bool:
        looked.append(now)
        return now.get("seq") == 2

    waited: list[bool] = []
    waiting = threading.Thread(target=lambda: waited.append(picture.wait_for(wanted, 10)))
    waiting.start()
    base = {"kind": "x", "feed": [], "older": 0}
    picture.receive({"snapshot": {**base, "seq": 1}})
    picture.receive({"delta": {"seq": 2}})
    waiting.join()
    assert waited == [True]
    assert looked[-1]["seq"] == 2
    assert not picture.wait_for(lambda now: now["seq"] == 3, 0.01)
