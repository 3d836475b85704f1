"""One package a task: its engine, data, evaluator, ONNX graph and summary."""
