"""Server boards (BMCs) over IPMI 2.0: sensors, event log, session."""
