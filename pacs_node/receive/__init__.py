"""C-ECHO and C-STORE SCP: what is accepted, within which bounds, and when Success may be said."""
