"""The web endpoint of ``python -m dogbreed.serve``: from a socket to the predictor and back, and the page."""
