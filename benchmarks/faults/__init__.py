"""How often the diagnosis names the right cause, on real tables with one injected fault."""
