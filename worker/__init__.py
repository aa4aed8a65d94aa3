"""Run jobs: claim them, train each in a process of its own, record the results."""
