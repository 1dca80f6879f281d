"""What the small ONNX models share: a BERT encoder in PyTorch, its WordPiece vocabulary, and the writer of its ONNX graph."""
