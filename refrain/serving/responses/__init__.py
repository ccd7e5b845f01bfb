"""OpenAI's responses: conversations that the server keeps."""
