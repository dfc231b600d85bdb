"""Server management controllers (BMCs) over IPMI 2.0: sensors, event log, session."""
