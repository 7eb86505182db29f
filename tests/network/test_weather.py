"""The switch with weather: its decisions one by one, then with real packets."""

from __future__ import annotations

import random
import re
import socket
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lan import Lan, why_not
from weather import QUEUE_BYTES, Line, Switch, Weather, parse_weather

BAD = Weather(delay_s=0.05, jitter_s=0.02, loss=0.05, duplicate=0.1, reorder=0.1)


def sent(
    weather: Weather, count: int = 20_000, seed: int = 7, gap_s: float = 0.001
) -> list[list[float]]:
    """How long the copies of each of many packets took, in seconds."""
    path = Line(random.Random(seed), weather)
    return [[at - n * gap_s for at in path.send(100, n * gap_s)] for n in range(count)]


def test_good_weather_does_nothing() -> None:
    assert sent(Weather(), 100) == [[0.0]] * 100


def test_every_packet_is_late_by_the_delay_and_up_to_the_jitter() -> None:
    took = [copies[0] for copies in sent(Weather(delay_s=0.05, jitter_s=0.02), gap_s=1.0)]
    assert 0.03 <= min(took) < 0.031
    assert 0.069 < max(took) <= 0.0701
    assert statistics.mean(took) == pytest.approx(0.05, abs=0.001)


def test_jitter_alone_overtakes_nobody() -> None:
    path = Line(random.Random(1), Weather(delay_s=0.05, jitter_s=0.05))
    arrivals = [path.send(100, n / 1000)[0] for n in range(1000)]
    assert arrivals == sorted(arrivals)


def test_the_shares_are_as_asked() -> None:
    copies = [len(c) for c in sent(BAD)]
    assert copies.count(0) / len(copies) == pytest.approx(0.05, abs=0.01)
    assert copies.count(2) / len(copies) == pytest.approx(0.095, abs=0.01)
    path = Line(random.Random(1), Weather(delay_s=0.05, jitter_s=0.02, reorder=0.1))
    arrivals = [path.send(100, n / 10_000)[0] for n in range(10_000)]
    latest = [max(arrivals[max(0, n - 200) : n + 1]) for n in range(10_000)]
    overtaking = sum(at < before for at, before in zip(arrivals, latest, strict=True))
    assert 500 < overtaking < 2000  # or is overtaken: a packet that goes its own way


def test_everything_is_lost_on_a_cut_path() -> None:
    assert sent(Weather(loss=1.0), 1000) == [[]] * 1000


def test_a_narrow_path_lets_through_what_it_can_and_drops_the_rest() -> None:
    path = Line(random.Random(1), Weather(bytes_per_s=125_000))
    arrivals = [at for _ in range(1000) for at in path.send(1250, 0.0)]
    assert arrivals[:3] == pytest.approx([0.01, 0.02, 0.03])
    assert len(arrivals) == pytest.approx(QUEUE_BYTES / 1250, abs=2)


@given(st.integers(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_seed_decides_everything(seed: int, loss: float, twice: float, overtake: float) -> None:
    weather = replace(BAD, loss=loss, duplicate=twice, reorder=overtake)
    assert sent(weather, 50, seed) == sent(weather, 50, seed)


def packet(target: str, text: bytes = b"") -> bytes:
    return (
        bytes([0x45]) + bytes(11) + socket.inet_aton("10.77.0.9") + socket.inet_aton(target) + text
    )


def test_the_switch_knows_who_is_where() -> None:
    switch = Switch({socket.inet_aton(f"10.77.0.{n}"): name for n, name in ((1, "a"), (2, "b"))}, 1)
    switch.change("a", "*", Weather(delay_s=0.5))
    switch.take("a", packet("10.77.0.2", b"late"), 0.0)
    switch.take("b", packet("10.77.0.1", b"soon"), 0.0)
    switch.take("b", packet("10.77.0.3", b"nobody"), 0.0)
    switch.take("b", b"\x60" + bytes(39), 0.0)  # IPv6
    assert switch.due(0.1) == [("a", packet("10.77.0.1", b"soon"))]
    assert switch.wait(0.1) == pytest.approx(0.4)
    assert switch.due(0.5) == [("b", packet("10.77.0.2", b"late"))]
    assert switch.wait(0.5) is None


def test_weather_is_read_from_words() -> None:
    assert parse_weather(["loss=0.05", "delay_s=0.1"]) == Weather(delay_s=0.1, loss=0.05)
    with pytest.raises(TypeError):
        parse_weather(["hail=1"])


def ping(lan: Lan, count: int, gap_s: float) -> tuple[int, int, list[float]]:
    """Ping b from a: answers, doubled answers, and how long each took in milliseconds."""
    words = f"ping -n -c {count} -i {gap_s} -W 1 {lan['b'].address}".split()
    said = lan["a"].popen(*words, stdout=-1, text=True).communicate()[0]
    doubled = len(re.findall(r"\(DUP!\)", said))
    took = [float(ms) for ms in re.findall(r"time=([\d.]+) ms(?! \(DUP)", said)]
    return len(took), doubled, took


def test_real_packets_meet_the_weather(empty_lan: Lan) -> None:
    empty_lan.expose(5, "a", "b")
    answers, _, took = ping(empty_lan, 20, 0.002)
    assert answers == 20
    assert statistics.median(took) < 40
    empty_lan.weather("a", "b", delay_s=0.05, jitter_s=0.01)
    answers, _, took = ping(empty_lan, 50, 0.002)
    assert answers == 50
    assert 45 < statistics.median(took) < 150
    empty_lan.weather("*", "*", loss=0.2, duplicate=0.2)
    answers, doubled, _ = ping(empty_lan, 150, 0.002)
    assert 65 < answers < 125  # 0.8 x 0.8 of them
    assert doubled > 10


def test_one_direction_alone_can_be_cut(empty_lan: Lan) -> None:
    empty_lan.expose(5, "a", "b")
    empty_lan.weather("b", "a", loss=1.0)
    assert says(empty_lan, "a", "b") == "hello"
    assert says(empty_lan, "b", "a") == ""
    assert ping(empty_lan, 5, 0.002)[0] == 0
    empty_lan.weather("b", "a")
    assert says(empty_lan, "b", "a") == "hello"


HEAR = """
import socket, sys
hears = socket.socket(type=socket.SOCK_DGRAM)
hears.bind((sys.argv[1], 4000))
print("ready", flush=True)
hears.settimeout(0.2)
try:
    print(hears.recv(100).decode())
except TimeoutError:
    print()
"""
SAY = """
import socket, sys
socket.socket(type=socket.SOCK_DGRAM).sendto(b"hello", (sys.argv[1], 4000))
"""


def says(lan: Lan, source: str, target: str) -> str:
    """Send one datagram; return what the other host heard."""
    address = lan[target].address
    hearing = lan[target].popen(sys.executable, "-Sc", HEAR, address, stdout=-1, text=True)
    assert hearing.stdout is not None
    assert hearing.stdout.readline() == "ready\n"
    lan[source].run(sys.executable, "-Sc", SAY, address)
    return str(hearing.communicate()[0]).strip()


@pytest.mark.parametrize("as_user", [False, True])
def test_hosts_meet_and_are_cut_off_in_either_kind_of_namespace(
    namespaces: None, as_user: bool
) -> None:
    """As root, and as anybody with a user namespace."""
    if reason := why_not(as_user=as_user):
        pytest.skip(reason)
    with Lan(as_user=as_user) as lan:
        lan.wire("a", "b")
        assert says(lan, "a", "b") == says(lan, "b", "a") == "hello"
        with lan["b"].deaf_to(lan["a"]):
            assert says(lan, "a", "b") == ""
            assert says(lan, "b", "a") == "hello"
        with lan["a"].cut_off(lan["b"]):
            assert says(lan, "b", "a") == ""
        with lan["b"].dropping("ip protocol udp"):
            assert ping(lan, 2, 0.002)[0] == 2
            assert says(lan, "a", "b") == ""
        assert says(lan, "a", "b") == "hello"


def test_nothing_is_left_behind(namespaces: None) -> None:
    """Nor is the machine's own network touched."""
    before = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    with Lan() as lan:
        lan.wire("a")
        lan.expose(1, "b")
        holder = lan.command()[2]
        assert Path(f"/proc/{holder}").exists()
        now = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        assert now == before
        assert not Path("/run/netns/a").exists()
    assert not Path(f"/proc/{holder}").exists()
