"""GGUF files for llama.cpp, Ollama and LM Studio: written from a Decoder and a tokenizer, then proven in llama.cpp."""
