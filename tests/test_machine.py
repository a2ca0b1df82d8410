"""What this machine offers."""

import os
import resource

import pytest
import torch

from dogbreed import machine
from dogbreed.machine import limit_threads, num_cpus, peak_memory_bytes, spare_gpu_lookups


@pytest.fixture
def threads(monkeypatch):
    """Torch's own number of threads, put back afterwards."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """A container's files, in which a quota of CPUs can be written."""
    monkeypatch.setattr(machine, "CGROUP_DIR", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(("text", "cpus"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_a_containers_quota_counts(quota, text, cpus):
    quota.write_text(text)
    assert num_cpus() == cpus


def test_threads_fit_the_quota(quota, threads):
    quota.write_text("200000 100000")
    torch.set_num_threads(8)
    limit_threads()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    limit_threads()  # never more than there were
    assert torch.get_num_threads() == 1


def test_who_says_how_many_threads_is_heeded(quota, threads, monkeypatch):
    quota.write_text("100000 100000")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)
    limit_threads()
    assert torch.get_num_threads() == 3


def test_the_most_memory_is_never_less_than_what_was_held():
    held = torch.ones(50_000_000)
    assert peak_memory_bytes(torch.device("cpu")) > held.numel() * 4
    assert peak_memory_bytes(torch.device("cpu")) == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_machine_without_a_gpu_is_not_searched_for_one_in_every_step(monkeypatch):
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    spare_gpu_lookups()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == ("1" if torch.cuda.is_available() else "0")
