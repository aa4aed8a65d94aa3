"""What every request passes through: authentication, limits, errors, headers, bodies."""
