"""Rows of `pacs-node bench` that need torch: the default network, the published one and the control.

`python -m training.benchmark` runs them alone, with nothing but torch, NumPy and safetensors installed.
"""
