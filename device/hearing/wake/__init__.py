"""Wake words: openWakeWord's models on onnxruntime."""
