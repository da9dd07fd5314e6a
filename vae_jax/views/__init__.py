"""What is shown of a trained model, as arrays; and the figures that are drawn of them."""
