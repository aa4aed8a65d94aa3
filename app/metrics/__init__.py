"""What a monitoring system asks for: `/metrics`, in Prometheus's text format."""
