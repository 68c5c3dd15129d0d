"""How fast a server may be asked, on a simulated clock."""

import heapq
import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.engines.pace import Pace, Rate, Started, TokenGuess, Window, read_vllm_queue


class SimulatedServer:
    """Answers after `latency_s`; calls beyond `n_slots` are refused after a hundredth of it."""

    def __init__(self, n_slots: int, latency_s: float = 1.0, retry_after_s: float | None = None) -> None:
        self.n_slots = n_slots
        self.latency_s = latency_s
        self.retry_after_s = retry_after_s


def simulate(pace: Pace, server: SimulatedServer, until_s: float) -> tuple[list[float], list[float], list[int]]:
    """Starts calls whenever the pace lets one; returns when they started, when they were refused, and the
    window's size at each whole second.
    """
    now, n_served = 0.0, 0
    ends: list[tuple[float, int, bool, Started]] = []
    started: list[float] = []
    refused: list[float] = []
    sizes: list[int] = []
    while now < until_s:
        while (wait_s := pace.wait_s(now)) <= 0:
            call = pace.start(0, now)
            started.append(now)
            is_served = n_served < server.n_slots
            n_served += is_served
            latency_s = server.latency_s if is_served else server.latency_s / 100
            heapq.heappush(ends, (now + latency_s, len(started), is_served, call))
        next_end = ends[0][0] if ends else math.inf
        next_start = now + wait_s
        later = min(next_end, next_start, until_s)
        sizes += [pace.window.size] * (math.floor(later) - math.floor(now))
        now = later
        while ends and ends[0][0] <= now:
            _, _, is_served, call = heapq.heappop(ends)
            if is_served:
                n_served -= 1
                pace.answered(call, now)
            else:
                refused.append(now)
                pace.refused(call, now, server.retry_after_s)
    return started, refused, sizes


def test_a_server_that_takes_all_is_asked_up_to_the_ceiling_at_once() -> None:
    started, refused, sizes = simulate(Pace(50), SimulatedServer(n_slots=1000), until_s=10)
    assert (started[:51].count(0.0), len(started), refused, set(sizes)) == (50, 500, [], {50})


@pytest.mark.parametrize("retry_after_s", [None, 0.2])
def test_the_window_settles_near_what_the_server_takes_and_few_calls_are_refused(retry_after_s: float | None) -> None:
    started, refused, sizes = simulate(Pace(500), SimulatedServer(20, retry_after_s=retry_after_s), until_s=300)
    last = sizes[60:]
    assert 10 <= min(last) <= max(last) <= 25
    assert sum(last) / len(last) >= 15
    assert len([at for at in refused if at > 60]) <= 0.05 * len([at for at in started if at > 60])


def test_calls_refused_together_cut_once_and_later_ones_again() -> None:
    window = Window(100)
    window.n_in_flight = 100
    assert [window.cut(sent_at=0.0, now=1.0 + 0.01 * number) for number in range(60)] == [True] + [False] * 59
    assert window.size == 50
    window.n_in_flight = 50
    assert (window.cut(sent_at=2.0, now=2.5), window.size) == (True, 25)
    for now in range(3, 30):
        window.n_in_flight = 1
        window.cut(sent_at=now, now=now)
    assert window.size == 1


def test_the_window_grows_by_a_twentieth_per_round_and_slowly_from_the_refused_size_on() -> None:
    window = Window(200)
    window.n_in_flight = 100
    window.cut(sent_at=0.0, now=1.0)
    sizes = []
    for now in range(2, 24):
        for _ in range(window.size):
            window.n_in_flight = window.size
            window.grow(float(now))
        sizes.append(window.size)
    assert [later - earlier for earlier, later in itertools.pairwise(sizes)][:8] == pytest.approx([5] * 8, abs=1)
    assert 99 <= sizes[11] <= 101
    assert sizes[21] - sizes[11] <= 8


def test_a_window_that_is_not_filled_does_not_grow_nor_one_of_a_server_in_trouble() -> None:
    window = Window(100)
    window.n_in_flight = 100
    window.cut(sent_at=0.0, now=0.0)
    window.n_in_flight = 20
    for _ in range(1000):
        window.grow(1.0)
    assert window.size == 50
    window.n_in_flight = 100
    window.hold(now=10.0)
    for _ in range(1000):
        window.grow(14.9)
    assert window.size == 50
    for _ in range(1000):
        window.grow(15.1)
    assert window.size > 50


def test_retry_after_holds_all_calls_back_and_pauses_without_it_double() -> None:
    pace = Pace(10, first_pause_s=0.5)
    pace.refused(pace.start(0, 0.0), 0.1, retry_after_s=7.0)
    assert pace.wait_s(0.1) == 7.0
    pace = Pace(10, first_pause_s=0.5)
    waits = []
    now = 0.0
    for _ in range(9):
        call = pace.start(0, now)
        now += 0.1
        pace.refused(call, now)
        waits.append(pace.wait_s(now))
        now += waits[-1]
    assert waits == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])
    pace.answered(pace.start(0, now), now)
    pace.refused(pace.start(0, now), now + 0.1)
    assert pace.wait_s(now + 0.1) == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(per_minute=st.integers(1, 2000), latency_s=st.floats(0.01, 20.0))
def test_no_minute_sees_more_calls_than_the_limit(per_minute: int, latency_s: float) -> None:
    pace = Pace(1000, requests_per_minute=per_minute)
    started, _, _ = simulate(pace, SimulatedServer(10**6, latency_s), until_s=180)
    for start in (0.0, 37.0, 119.0):
        assert len([at for at in started if start <= at < start + 59.99]) <= per_minute + 1
    if latency_s * per_minute / 60 < 1000:
        assert len(started) >= 3 * per_minute - 1


def test_tokens_per_minute_hold_though_the_first_guesses_are_far_too_high() -> None:
    """Each call is guessed at 5,000 tokens and uses 500; 60,000 a minute are 120 calls."""
    pace = Pace(1000, tokens_per_minute=60_000)
    guess = TokenGuess()
    now, ends, n_started = 0.0, [], []
    while now < 600:
        while pace.wait_s(now) <= 0:
            call = pace.start(guess.guess(400, 1, 4900), now)
            n_started.append(now)
            heapq.heappush(ends, (now + 10.0, len(n_started), call))
        now = min(now + pace.wait_s(now), ends[0][0])
        while ends and ends[0][0] <= now:
            _, _, call = heapq.heappop(ends)
            pace.answered(call, now, 500)
            guess.learn(400, 1, 100, 400)
    for start in (0, 200, 500):
        n = len([at for at in n_started if start <= at < start + 60])
        assert n <= 120 * 1.1 + 1
    assert len([at for at in n_started if at >= 300]) == pytest.approx(600, rel=0.03)


def test_a_call_larger_than_a_minutes_tokens_passes_and_the_next_waits_for_it() -> None:
    rate = Rate(per_minute=60)
    rate.take(180, now=100.0)
    assert rate.wait_s(100.0) == 180.0
    rate.give_back(90)
    assert rate.wait_s(100.0) == 90.0
    rate.give_back(-30)
    assert rate.wait_s(130.0) == 90.0


def test_the_guess_is_the_most_at_first_and_then_what_calls_used() -> None:
    guess = TokenGuess()
    assert guess.guess(400, 2, 1000) == 2100
    guess.learn(400, 2, 200, 100)
    assert (guess.guess(400, 2, 1000), guess.guess(800, 1, 10)) == (300, 410)


def vllm(n_slots: int, window: Window, n_clients: Callable[[float], int], until_s: int) -> list[tuple[int, int]]:
    """Looks each second at a server that runs `n_slots` at once; returns what runs and waits."""
    seen = []
    for second in range(until_s):
        window.n_in_flight = min(window.size, n_clients(float(second)))
        running = min(n_slots, window.n_in_flight)
        seen.append((running, window.n_in_flight - running))
        window.follow(*map(float, seen[-1]))
    return seen


def test_a_vllm_server_is_kept_full_with_a_small_queue() -> None:
    seen = vllm(64, Window(500), lambda now: 10**6, until_s=60)
    assert seen[0] == (64, 436)
    assert all(running == 64 and 1 <= waiting <= 13 for running, waiting in seen[2:])


def test_a_vllm_server_that_takes_more_later_is_followed_up_to_the_ceiling() -> None:
    window = Window(100)
    vllm(10, window, lambda now: 10**6, until_s=20)
    assert window.size <= 14
    vllm(1000, window, lambda now: 10**6, until_s=60)
    assert window.size == 100


def test_the_queue_is_read_for_all_engines_together() -> None:
    text = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 8.0
vllm:num_requests_running{engine="1",model_name="m"} 7.0
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 1e+01
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 5.0
"""
    assert read_vllm_queue(text) == (15.0, 13.0)
    assert read_vllm_queue("<html>not found</html>") is None


@given(st.text())
def test_any_page_can_be_read(text: str) -> None:
    read_vllm_queue(text + "\nvllm:num_requests_waiting 1..2\n" + text)
