"""The same answers as a Ray Serve application, which is what Amazon's container for serving runs."""
