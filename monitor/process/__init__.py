"""What lives as long as the process: the daemon, its jobs, leases, the service manager."""
