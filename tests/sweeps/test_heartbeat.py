"""Who is dead, who only seems so, and what becomes of a dead worker's trial."""

import json
import os
import subprocess
import sys
import time

import optuna
import pytest
from optuna.trial import TrialState

from dogbreed.sweeps import heartbeat
from dogbreed.sweeps.heartbeat import MAX_RESTARTS, Heartbeat, fail_stale, signs_of_life, this_worker
from dogbreed.sweeps.opening import open_storage
from dogbreed.sweeps.space import parse_space
from dogbreed.sweeps.study import claim

SPACE = parse_space({"x": "interval(0.0, 1.0)", "kind": "choice(a, b)"})
ELSEWHERE = {"host": "elsewhere", "pid": 1, "started": 1, "place": "another machine"}


class Clock:
    """Both of a machine's clocks: seconds since 1970, and seconds of this process."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return 1e9 + self.now

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


@pytest.fixture
def study(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"), study_name=str(tmp_path))


def taken(study, worker, beat=None):
    """A trial that a worker has begun; its number."""
    trial = claim(study, 100, SPACE, worker)
    if beat is not None:
        trial.set_user_attr("heartbeat", beat)
    return trial.number


def dead_worker():
    """A process of this machine that has been and is gone."""
    script = "import json; from dogbreed.sweeps.heartbeat import this_worker; print(json.dumps(this_worker()))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def test_a_worker_whose_process_is_gone_is_dead_at_once(study):
    number = taken(study, dead_worker())
    params = study.get_trials()[number].params
    assert fail_stale(study, 1000.0) == [0]
    trial = study.get_trials()[0]
    assert (trial.state, trial.params) == (TrialState.WAITING, params)
    # The next one who asks gets it: the same number, the same values, the same run folder.
    again = claim(study, 100, SPACE, this_worker())
    assert (again.number, again.params) == (0, params)
    assert fail_stale(study, 1000.0) == []
    assert study.get_trials()[0].state == TrialState.RUNNING


def test_a_process_of_the_same_number_is_another_one(study):
    taken(study, {**this_worker(), "started": this_worker()["started"] - 1})
    assert fail_stale(study, 1000.0) == [0]


def test_a_process_of_another_container_is_not_looked_for_here(study):
    taken(study, {**dead_worker(), "place": "another container"})
    assert fail_stale(study, 1000.0) == []


def test_one_that_lives_is_left_in_peace(study):
    taken(study, this_worker())
    assert fail_stale(study, 1000.0) == []


def test_values_that_kill_every_worker_do_not_come_again_for_ever(study):
    dead = dead_worker()
    for _ in range(MAX_RESTARTS):
        taken(study, dead)
        assert fail_stale(study, 1000.0) == [0]
        assert study.get_trials()[0].state == TrialState.WAITING
    taken(study, dead)
    assert fail_stale(study, 1000.0) == [0]
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL]
    assert str(dead["pid"]) in study.get_trials()[0].user_attrs["reason"]


def test_a_silent_worker_elsewhere_may_live_so_its_values_get_a_trial_of_their_own(study, clock):
    number = taken(study, ELSEWHERE, clock.time())
    params = study.get_trials()[number].params
    assert fail_stale(study, 10.0) == []
    clock.now += 59
    assert fail_stale(study, 10.0) == []
    clock.now += 2
    assert fail_stale(study, 10.0) == [number]
    failed, waiting = study.get_trials()
    assert (failed.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    assert failed.user_attrs["requeued_as"] == waiting.number
    assert (waiting.user_attrs["restart_of"], waiting.user_attrs["restarts"]) == (number, 1)
    again = claim(study, 100, SPACE, this_worker())
    assert (again.number, again.params) == (waiting.number, params)


def test_clocks_that_differ_kill_nobody(study, clock):
    """Our clock is hours ahead of the worker's: its signs of life look old, and still they come."""
    number = taken(study, ELSEWHERE, 0.5)
    for beat in range(1, 20):
        assert fail_stale(study, 10.0) == []
        clock.now += 10
        storage = study._storage
        storage.set_trial_user_attr(
            storage.get_trial_id_from_study_id_trial_number(study._study_id, number), "heartbeat", beat
        )
    # Now it falls silent, which is noticed sooner, for it looks old already.
    assert fail_stale(study, 10.0) == []
    clock.now += 21
    assert fail_stale(study, 10.0) == [number]


def test_one_that_was_killed_before_it_could_say_who_it_is(study, clock):
    study.ask()
    assert fail_stale(study, 10.0) == []
    clock.now += 61
    assert fail_stale(study, 10.0) == [0]
    assert study.get_trials()[0].state == TrialState.WAITING


def test_who_is_killed_while_it_requeues_leaves_no_second_successor(study, clock, monkeypatch):
    taken(study, ELSEWHERE, clock.time())
    fail_stale(study, 10.0)
    clock.now += 61
    real = type(study._storage).set_trial_state_values

    def killed(self, trial_id, state, values=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(study._storage), "set_trial_state_values", killed)
    with pytest.raises(KeyboardInterrupt):
        fail_stale(study, 10.0)
    monkeypatch.setattr(type(study._storage), "set_trial_state_values", real)
    assert [trial.state for trial in study.get_trials()] == [TrialState.RUNNING, TrialState.WAITING]
    assert fail_stale(study, 10.0) == [0]
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL, TrialState.WAITING]
    assert study.get_trials()[0].user_attrs["requeued_as"] == 1


def test_a_thread_says_that_its_worker_lives(study):
    one, two = taken(study, this_worker(), 0.0), taken(study, this_worker(), 0.0)
    study.tell(two, 1.0)

    def beat_of(number):
        return study.get_trials()[number].user_attrs["heartbeat"]

    with Heartbeat(study, 0.02) as heart:
        heart.add(one)
        heart.add(two)  # which has ended: no error, no sign of life
        deadline = time.monotonic() + 30
        while beat_of(one) == 0.0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert abs(beat_of(one) - time.time()) < 60
    assert beat_of(two) == 0.0


def test_signs_of_life_are_those_of_this_process():
    signs = signs_of_life()
    assert signs["worker"]["pid"] == os.getpid()
    assert signs["worker"]["started"] > 0
    assert abs(signs["heartbeat"] - time.time()) < 60
