"""One file a command; the only place that prints, exits or knows Typer."""
