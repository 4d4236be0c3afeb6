"""How labels come: how long they take, what early ones say, and whether either has changed."""
