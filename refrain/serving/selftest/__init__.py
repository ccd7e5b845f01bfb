"""What an OpenAI-compatible server must do, as checks of any: what holds, what does not, and the evidence."""
