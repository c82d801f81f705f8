"""Reader studies: a blinded set with and without companions, a page to read it on, and tables of what was read."""
