"""One study, several worker processes, some of them killed: nothing is lost, nothing but what was killed runs twice."""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import optuna
import postgres
import pytest
import study_worker
from optuna.trial import TrialState

from dogbreed.sweeps.heartbeat import MAX_RESTARTS, SURPLUS
from dogbreed.sweeps.opening import open_storage
from dogbreed.sweeps.study import ABOUT, progress
from dogbreed.sweeps.turns import exclusively

TESTS = Path(study_worker.__file__).parent


@pytest.fixture(scope="module")
def postgres_url():
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def study(url, tmp_path):
    study = optuna.create_study(storage=open_storage(url), study_name=tmp_path.name)
    study.set_user_attr(ABOUT, {"engine": "random"})
    return study


def start(url, study, n_trials, log):
    command = [sys.executable, TESTS / "study_worker.py", url, study.study_name, str(n_trials), str(log)]
    return subprocess.Popen(list(map(str, command)))


def events_of(log):
    """Lines as (process, word, trial), whole ones only: a killed worker may leave half of one."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), word, int(rest[0]) if rest else None) for pid, word, *rest in map(str.split, lines)]


@pytest.mark.slow
def test_four_workers_that_are_killed_at_random(url, study, tmp_path):
    n_trials, num_kills, log = 60, 8, tmp_path / "log"
    draw = random.Random(0)
    workers = [start(url, study, n_trials, log) for _ in range(4)]
    killed = set()
    while len(killed) < num_kills:
        time.sleep(draw.uniform(0.1, 0.5))
        at_work = {pid for pid, word, _ in events_of(log) if word == "begins"} - killed
        victims = [one for one in workers if one.pid in at_work and one.poll() is None]
        if not victims:
            assert any(one.poll() is None for one in workers), "all have ended before enough were killed"
            continue
        victim = draw.choice(victims)
        victim.kill()
        victim.wait()
        killed.add(victim.pid)
        workers.append(start(url, study, n_trials, log))
    for worker in workers:
        assert worker.wait(timeout=120) == (-9 if worker.pid in killed else 0)

    trials = study.get_trials()
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] == n_trials
    assert not states[TrialState.RUNNING]
    assert not states[TrialState.WAITING]
    assert [trial.number for trial in trials] == list(range(len(trials)))
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            assert trial.value == study_worker.value_of(trial.params)
    events = events_of(log)
    begun = Counter(number for _, word, number in events if word == "begins")
    ended = Counter(number for _, word, number in events if word == "ends")
    lost = Counter(number for pid, word, number in events if word == "begins" and pid in killed) - Counter(
        number for pid, word, number in events if word == "ends" and pid in killed
    )
    complete = {trial.number for trial in trials if trial.state == TrialState.COMPLETE}
    worn_out = {
        trial.number for trial in trials if trial.state == TrialState.FAIL and not trial.user_attrs.get(SURPLUS)
    }
    for number in worn_out:  # which has lost so many workers that its values might be the cause
        assert "is dead or silent" in trials[number].user_attrs["reason"]
        assert trials[number].user_attrs["deaths"] == MAX_RESTARTS
        assert (lost[number] <= MAX_RESTARTS + 1, ended[number]) == (True, 0)  # some may have died before they began
    # No death is counted that was none.
    assert sum(trial.user_attrs.get("deaths", 0) for trial in trials) + len(worn_out) <= num_kills
    assert set(begun) <= complete | worn_out  # other failures are surplus: nobody has begun it
    for number in complete:
        # Once, and once more for each time that its worker was killed; it may have been killed after its last word
        # to the study, before its line in the log.
        assert 0 <= lost[number] + 1 - begun[number] <= 1, (number, begun[number], lost[number])
        assert ended[number] == begun[number] - lost[number] <= 1


def test_a_study_has_no_trial_too_many(url, study, tmp_path):
    log = tmp_path / "log"
    workers = [start(url, study, 7, log) for _ in range(2)]
    assert [worker.wait(timeout=120) for worker in workers] == [0] * 2
    assert progress(study).finished == 7
    assert Counter(number for _, word, number in events_of(log) if word == "begins").most_common(1)[0][1] == 1
    assert sum(word == "begins" for _, word, _ in events_of(log)) == 7


def test_one_at_a_time(url, study):
    """Threads here; processes above. A turn can be taken within a turn."""
    inside, most, rounds = 0, 0, 0

    def go():
        nonlocal inside, most, rounds
        for _ in range(20):
            with exclusively(study), exclusively(study):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                rounds += 1
                inside -= 1

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, rounds) == (1, 80)


HOLDER = """
import sys, time
import optuna
from dogbreed.sweeps.opening import open_storage
from dogbreed.sweeps.turns import exclusively
with exclusively(optuna.load_study(study_name=sys.argv[2], storage=open_storage(sys.argv[1]))):
    print("mine", flush=True)
    time.sleep(600)
"""


def test_a_turn_dies_with_its_holder(url, study):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, url, study.study_name], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "mine\n"
    got = threading.Event()

    def take():
        with exclusively(study):
            got.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    assert not got.wait(0.5)
    holder.kill()
    assert got.wait(60)
    thread.join()
    holder.wait()
