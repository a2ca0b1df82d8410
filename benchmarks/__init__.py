"""What dogbreed claims, measured: each figure beside a peer's or a ceiling's from the same run.

``python -m benchmarks`` runs everything, ``python -m benchmarks step startup`` some of it.
Each benchmark rewrites its rows for this machine in ``results/NAME.csv``.
"""
