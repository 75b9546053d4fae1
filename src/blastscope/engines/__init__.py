"""What computes a network's logits: ONNX Runtime, OpenVINO or PyTorch, behind one interface."""
