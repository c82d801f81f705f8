"""The gate's classifier: what it was shown, how it was trained, and how often it errs.

``python -m training.gate films`` gathers pictures of every kind, ``train`` fits one network for each fold and the one
that ships, ``evaluate`` fills the confusion table of docs/gate.md with networks that never saw what they judge,
``fields`` sends random fields through the gate that ships.
"""
