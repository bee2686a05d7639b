"""Other hosts' daemons: who they are, and how they are reached."""
