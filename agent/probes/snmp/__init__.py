"""Devices over SNMP: a profile is applied to the tables that a device has, and read by one of three engines."""
