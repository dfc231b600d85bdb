"""Devices over SNMP: a profile is laid over the tables that a device has, and read by one of two engines."""
