"""What is known of a stage: its contract, its arrays, what precision it has, how far outputs are apart."""
