"""A signal ends the service at whatever instant it comes."""

import subprocess
import sys

import pytest

ROUNDS = 400  # waiting at an Event, or at a queue, hung in every run

# A thread sends the signal while the main thread is about to wait.
PROGRAM = f"""
import os, random, signal, threading
from pacs_node.service import _StopRequest
for number in range({ROUNDS}):
    stop = _StopRequest()
    with stop.signals():
        go = threading.Event()
        def send():
            go.wait()
            for _ in range(random.randrange(60)):
                pass
            os.kill(os.getpid(), signal.SIGTERM)
        sender = threading.Thread(target=send)
        sender.start()
        go.set()
        stop.wait()
        sender.join()
print("ended")
"""


def test_a_signal_ends_the_wait_whenever_it_comes() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "ended"), run.stderr


HANGUP = """
import os, signal
from pacs_node.service import _StopRequest
stop = _StopRequest()
with stop.signals():
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    print("lives", flush=True)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        os.kill(os.getpid(), signal.SIGTERM)
    stop.wait()
print("ended")
"""


@pytest.mark.parametrize("command", [[], ["nohup"]])
def test_the_end_of_its_terminal_is_an_orderly_end_unless_it_was_told_to_outlive_that(command: list[str]) -> None:
    run = subprocess.run(
        [*command, sys.executable, "-c", HANGUP], capture_output=True, text=True, timeout=120, check=False
    )
    assert (run.returncode, run.stdout.split()) == (0, ["lives", "ended"]), run.stderr
