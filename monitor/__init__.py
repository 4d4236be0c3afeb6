"""The shell: reads rows, keeps time, calls the pure core, tells people."""
