"""Whose folder it is, when processes live, die and fork."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from dogbreed.lock import LockedError, RunLock, hold_folder, is_held, release_folder, take_lock

HOLD = (
    "import sys, pathlib; from dogbreed.lock import RunLock; "
    "lock = RunLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run.lock"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_held_while_its_holder_lives_and_free_when_it_is_killed(tmp_path, holder):
    sentence = rf"{tmp_path} belongs to a run that is going on \(process {holder.pid} on {socket.gethostname()}\)"
    with pytest.raises(LockedError, match=sentence):
        RunLock(tmp_path / "run.lock")
    holder.kill()
    holder.wait()
    lock = RunLock(tmp_path / "run.lock")
    assert json.loads((tmp_path / "run.lock").read_text()) == {"pid": os.getpid(), "host": socket.gethostname()}
    lock.release()
    assert not (tmp_path / "run.lock").exists()


def test_one_process_takes_it_once(tmp_path):
    lock = RunLock(tmp_path / "run.lock")
    with pytest.raises(LockedError):
        take_lock(tmp_path / "run.lock")
    lock.reserve()
    assert take_lock(tmp_path / "run.lock") is lock
    with pytest.raises(LockedError):
        take_lock(tmp_path / "run.lock")
    lock.release()


@pytest.mark.parametrize("content", ["", '{"pid": 1', "[]", '{"pid": 999999999}'])
def test_what_a_kill_has_left_is_no_obstacle(tmp_path, content):
    (tmp_path / "run.lock").write_text(content)
    RunLock(tmp_path / "run.lock").release()


def test_another_machines_lock_is_not_judged_from_here(tmp_path):
    content = json.dumps({"pid": 1, "host": "elsewhere"})
    (tmp_path / "run.lock").write_text(content)
    with pytest.raises(LockedError, match=r"process 1 on elsewhere\).*delete .*run.lock if that run is dead"):
        RunLock(tmp_path / "run.lock")
    assert (tmp_path / "run.lock").read_text() == content


FORK = (
    "import os, sys, pathlib, time; from dogbreed.lock import RunLock, hold_folder; "
    "path = pathlib.Path(sys.argv[1]); "
    "lock = RunLock(path), hold_folder(path.parent); child = os.fork() or time.sleep(60); "
    "time.sleep(0.3); print(child, flush=True); sys.stdin.read()"
)


def test_a_forked_process_does_not_inherit_it(tmp_path):
    """Loader processes live on for seconds when their parent is killed."""
    parent = subprocess.Popen([sys.executable, "-c", FORK, tmp_path / "run.lock"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    child = int(parent.stdout.readline())
    try:
        with pytest.raises(LockedError):
            RunLock(tmp_path / "run.lock")
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # it lives
        RunLock(tmp_path / "run.lock").release()
        release_folder(hold_folder(tmp_path))
    finally:
        os.kill(child, signal.SIGKILL)


def test_many_takers_one_winner(tmp_path):
    (tmp_path / "run.lock").write_text(json.dumps({"pid": 1, "host": socket.gethostname()}))
    won, barrier = [], threading.Barrier(8)

    def take():
        barrier.wait()
        with contextlib.suppress(LockedError):
            won.append(RunLock(tmp_path / "run.lock"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].release()


def test_a_folder_of_checkpoints_is_held_without_a_file_in_it(tmp_path):
    held = hold_folder(tmp_path)
    with pytest.raises(LockedError, match="choose another folder, checkpoint_dir=DIR"):
        hold_folder(tmp_path)
    assert not list(tmp_path.iterdir())
    release_folder(held)
    release_folder(hold_folder(tmp_path))


def test_looking_says_who_lives_and_takes_nothing(tmp_path, holder):
    path = tmp_path / "run.lock"
    before = path.read_text()
    assert is_held(path)
    holder.kill()
    holder.wait()
    assert not is_held(path)
    assert path.read_text() == before
    assert not is_held(tmp_path / "none.lock")
    assert not (tmp_path / "none.lock").exists()
    path.write_text(json.dumps({"pid": 1, "host": "another machine"}))
    assert is_held(path)  # as far as can be told from here
