"""What is maximised and minimised: bounds, negative phases and losses, for one row each."""
