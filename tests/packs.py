"""What is in an index, for tests of packed data sets."""

SHARD = 12_000  # bytes: a few pictures each


def contents(index):
    """Every picture's bytes and class, by split and name."""
    return {
        (split, images.paths[n]): (source_bytes(images.source(n)), index.class_names[images.labels[n]])
        for split, images in index.splits.items()
        for n in range(len(images))
    }


def source_bytes(source):
    return source if isinstance(source, bytes) else source.read_bytes()
