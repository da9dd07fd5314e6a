"""The action of each verb of the command line."""
