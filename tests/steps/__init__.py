"""What the author of a step sees, sentence by sentence of the contract, from a workflow's start to its result."""
