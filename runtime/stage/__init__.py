"""Facts about a stage: its contract, its arrays, its precision, how far outputs are apart."""
