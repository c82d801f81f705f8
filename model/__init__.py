"""BS-LDM: the network and the mathematics of its diffusion. Imports nothing else of this project."""
