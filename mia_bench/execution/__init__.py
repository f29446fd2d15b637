"""One plan, carried out: train, extract, score; what is finished is reused."""
