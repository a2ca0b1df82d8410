"""From a request's bytes to an answer: reads model folders alone, imports neither a trainer nor a hook."""
