"""The variational autoencoder as a NamedTuple of pure functions."""
