"""A merged model as files: architectures/ reads config.json and tensors into one description, onnx/ draws it; the
best variant is chosen and its manifest written."""
