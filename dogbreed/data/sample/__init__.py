"""The built-in data set: cartoon dogs, drawn by our own code and written as real image files."""

from dogbreed.data.sample.source import SampleSource

__all__ = ["SampleSource"]
