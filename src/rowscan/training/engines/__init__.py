"""What runs the steps of a training: PyTorch, NumPy by hand, TensorFlow."""
