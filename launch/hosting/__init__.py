"""Endpoints and batch transform jobs: a model folder that answers at Amazon's.

What decides is pure (`settings`, `validation`, `names`, `request`, `scaling`, `costs`, `plan`, `limits`); `archive` and
`source` find and pack the model; `deployment` is the order in which something comes to be or is undone; `tables` and
`leftovers` look after what there is.
"""
