"""An ONNX file that runs: sessions, the KV cache, the protocol of a language model, and its tokens as text. Knows no
torch, no sampling and no command."""
