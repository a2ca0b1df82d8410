"""A model folder in other forms: ONNX, TorchScript, torch.export, and a card for people."""
