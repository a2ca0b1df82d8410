"""Amazon's own training toolkit, run in a process of this machine as its containers run it."""
