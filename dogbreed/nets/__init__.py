"""Networks and their training arithmetic: tensors and modules in, tensors and modules out."""
