"""Where an answer comes from: the artifact, the settings, the rows of training near it; and what people make of it."""
