"""Do embeddings of two model versions, or of two domains, still mean the same?"""
