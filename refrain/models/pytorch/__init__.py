"""What PyTorch does with weights: load, attach an adapter, merge, save, and speak as a LanguageModel."""
