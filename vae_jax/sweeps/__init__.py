"""Many configs as few compiled programs, shared by any number of workers."""
