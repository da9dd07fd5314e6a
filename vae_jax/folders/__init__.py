"""The files of a run folder: their names, their formats, and how they are read and written."""
