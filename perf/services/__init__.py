"""What is measured: the installed khive build, a real Redis, and stand-ins for what lies outside khive."""
