"""Gaussian algebra, likelihoods p(x | z), priors p(z), posteriors q(z | x)."""
