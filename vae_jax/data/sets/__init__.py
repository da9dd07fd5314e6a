"""Data sets by name: in the package, rendered, of tensorflow-datasets, of papers."""
