"""Names of models, their versions and aliases."""
