"""From a file to tensors: readers, schema, splits and the choice of features and target."""
