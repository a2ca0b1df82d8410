"""Ctrl-C, a kill and a lost network: what there is is told, and the same command goes on."""

import signal
import subprocess
import sys
import threading

import pytest
from launch_jobs import wait_until

SLOW_S = 1.5


def start(model, name):
    words = ["-m", "launch.deploy", f"model={model}", f"name={name}", "target=cpu", "launch.poll_s=0.05"]
    words.append("launch.prices=prices.yaml")
    return subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_ended_while_waiting(aws, model, deploy, there_is, number):
    name = f"ended-{number.name.lower()}"
    aws.faults.set(host_delay_s=SLOW_S)
    process = start(model, name)
    wait_until(lambda: name in aws._backend.endpoints)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"python -m launch.endpoints delete {name} removes it" in err
    aws.faults.clear()
    finished = deploy(name=name)
    assert finished.code == 0, finished.err
    assert "waiting" in finished.err or "serves this model already" in finished.err
    assert len([sent for sent in aws.sent("CreateEndpoint") if sent["EndpointName"] == name]) == 1
    assert there_is(name) == {"endpoints": 1, "configurations": 1, "models": 1}


@pytest.mark.slow
def test_killed_between_model_and_endpoint(aws, deploy, there_is):
    aws.faults.set(errors={"CreateEndpoint": ["InternalFailure", "killed"], "DeleteModel": ["InternalFailure", "x"]})
    assert deploy(name="between").code != 0
    assert there_is("between")["models"] == 1
    aws.faults.clear()
    assert deploy(name="between").code == 0
    assert there_is("between") == {"endpoints": 1, "configurations": 1, "models": 1}


@pytest.mark.slow
def test_a_lost_network_is_waited_for(aws, model, deploy):
    aws.faults.set(host_delay_s=SLOW_S)

    def cut():
        wait_until(lambda: "patient" in aws._backend.endpoints)
        aws.disconnect()
        threading.Timer(2.0, aws.reconnect).start()

    thread = threading.Thread(target=cut)
    thread.start()
    made = deploy(name="patient")
    thread.join()
    assert made.code == 0, made.err
    assert "The endpoint patient goes on" in made.err
    assert "AWS answers again." in made.err


def test_deleting_what_is_being_made_waits(aws, deploy, endpoints, there_is):
    aws.faults.set(host_delay_s=0.5)
    assert deploy("launch.wait=false", name="early").code == 0
    removed = endpoints("delete", "early")
    assert removed.code == 0, removed.err
    assert "is being made or changed" in removed.err
    assert there_is("early") == {"endpoints": 0, "configurations": 0, "models": 0}
