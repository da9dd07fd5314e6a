"""Which devices there are, and how lanes run on them."""
