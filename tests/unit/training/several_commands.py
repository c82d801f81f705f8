"""Started by `torchrun` in the tests: one meeting of the processes, then several commands, to import torch once."""

import json
import sys

import torch

from pacs_node.cli import main
from training.parallel import joined

if __name__ == "__main__":
    torch.set_num_threads(1)  # bit-equal sums need one order of summation
    with joined("cpu") as world:
        codes = [main(words) for words in json.loads(sys.argv[1])]
        sys.stderr.write(f"process {world.rank}: {codes}\n")
