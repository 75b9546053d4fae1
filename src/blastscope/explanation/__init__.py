"""What the networks see: their feature maps, where their evidence lies, and what that is worth."""
