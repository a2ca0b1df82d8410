"""What runs inside a training job; the only part of `launch` that imports the trainer."""
