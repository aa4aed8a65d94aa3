"""A trained model: preprocessing, network and description, saved, loaded and run."""
