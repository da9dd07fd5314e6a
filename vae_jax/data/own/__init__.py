"""The user's own data: arrays, matrices, folders of files."""
