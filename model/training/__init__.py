"""Parts of the LightningModule that need torch only: the logit scale, the learning rate, and sums over batches."""
