"""Lesions put into radiographs by the physics of attenuation, and what is left of them in the companion."""
