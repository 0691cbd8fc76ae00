"""Parts of the LightningModule that need torch only: the multiplier of the logits and what is added up over batches."""
