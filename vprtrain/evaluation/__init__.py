"""A checkpoint on trials, away from training: embeddings of every utterance once, scores, and the report."""
