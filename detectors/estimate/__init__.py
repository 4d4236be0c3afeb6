"""How good is the model now: realised where labels have come, estimated where they have not."""
