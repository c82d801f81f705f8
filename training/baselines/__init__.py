"""The rivals of BS-LDM's Table 1, rebuilt from their papers and trained by the same loop on the same pairs."""
