"""One deployment through time: what stays fixed, what moves, what it means, who checks it."""
