"""Pure decisions: which limits hold, from which source, and what a run as a whole amounts to."""
