"""Batches of several passes: each given once, whichever process comes first."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mia_bench.extraction.tasks import SharedCounter, Tasks, shared_counter

TAKE = """
import sys
from mia_bench.extraction.tasks import SharedCounter

counter = SharedCounter(int(sys.argv[1]))
print(*[counter.take() for _ in range(int(sys.argv[2]))])
"""


def test_processes_take_every_number_once():
    processes, each = 3, 400
    with shared_counter() as counter:
        words = [sys.executable, "-c", TAKE, str(counter.descriptor), str(each)]
        started = [
            subprocess.Popen(words, stdout=subprocess.PIPE, pass_fds=[counter.descriptor])
            for _ in range(processes)
        ]
        taken = [[int(word) for word in process.communicate()[0].split()] for process in started]
        assert counter.value == processes * each
    assert all(numbers == sorted(numbers) for numbers in taken)
    assert sorted(chain.from_iterable(taken)) == list(range(processes * each))


def test_a_counter_is_gone_with_its_block():
    with shared_counter() as counter:
        assert [counter.take(), counter.take()] == [0, 1]
        assert SharedCounter(counter.descriptor).take() == 2
    with pytest.raises(OSError, match="descriptor"):
        counter.take()


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=4), st.data())
def test_two_takers_make_every_task_once_and_passes_in_turn(batches, data):
    """Literally: whoever is free takes the next; a pass once left is not returned to."""
    with shared_counter() as counter:
        takers = [Tasks(counter, batches), Tasks(counter, batches)]
        found: list[list[tuple[int, int]]] = [[], []]
        while any(taker.next_pass() is not None for taker in takers):
            who = data.draw(
                st.sampled_from([i for i in (0, 1) if takers[i].next_pass() is not None])
            )
            place = takers[who].next_pass()
            assert place is not None
            for batch in takers[who].of(place):
                found[who].append((place, batch))
                if data.draw(st.booleans()):  # the other is free first
                    break
        assert [takers[0].taken(i) for i in range(len(batches))] == batches
    everything = [(place, batch) for place, of in enumerate(batches) for batch in of]
    assert sorted(found[0] + found[1]) == sorted(everything)
    for mine in found:
        places = [place for place, _ in mine]
        assert places == sorted(places)


def test_what_others_have_taken_is_known():
    with shared_counter() as counter:
        mine, other = (Tasks(counter, [[4, 6], [0, 1, 2]]) for _ in range(2))
        assert next(other.of(0)) == 4
        assert (mine.taken(0), mine.taken(1)) == ([4], [])
        assert list(takewhile(lambda batch: batch != 0, mine.of(0))) == [6]
        assert mine.next_pass() == 1
        assert (other.taken(0), other.taken(1)) == ([4, 6], [0])
        assert list(other.of(1)) == [1, 2]
        assert list(mine.of(1)) == [0]
        assert mine.next_pass() is None
