"""Rivals, control and ours under one budget on one set of pairs: `pacs-node compare`, Table 1 of the paper anew."""
