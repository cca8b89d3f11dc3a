"""AWS's HTTP API of Lambda, on loopback."""
