"""Events of jobs and sweeps: pages of them, and live streams."""
