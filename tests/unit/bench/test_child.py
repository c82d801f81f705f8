"""Time and memory of a process of its own."""

import os
import sys
from pathlib import Path

import numpy as np

from pacs_node.bench.child import run_child
from pacs_node.bench.environment import peak_resident_bytes

MIB = 2**20


def python(script: str) -> list[str]:
    return [sys.executable, "-S", "-c", script]


def test_the_memory_of_a_child_is_seen(tmp_path: Path) -> None:
    run = run_child(python(f"held = b'x' * {200 * MIB}"), os.environ, tmp_path)
    assert run.failure == ""
    assert 200 * MIB < run.peak_bytes < 300 * MIB


def test_the_memory_of_a_child_is_not_that_of_its_parent() -> None:
    held = np.ones(300 * MIB // 8)
    run = run_child(python("pass"), os.environ)
    assert held.nbytes == 300 * MIB
    assert run.peak_bytes < 100 * MIB


def test_a_child_that_fails_says_why() -> None:
    run = run_child(python("raise SystemExit('no such thing')"), os.environ)
    assert run.failure == "no such thing"


def test_a_command_that_does_not_exist_is_a_failure(tmp_path: Path) -> None:
    assert "No such file" in run_child([str(tmp_path / "absent")], os.environ).failure


def test_what_a_child_prints_is_not_taken_for_its_figures() -> None:
    run = run_child(python("print('{\"seconds\": 0}')"), os.environ)
    assert run.failure == ""
    assert run.seconds > 0


def test_the_peak_of_this_process_grows_with_what_it_holds() -> None:
    before = peak_resident_bytes()
    held = np.ones(400 * MIB // 8)
    after = peak_resident_bytes()
    assert held.any()
    assert before is not None
    assert after is not None
    assert after > 350 * MIB  # it may have held much before
