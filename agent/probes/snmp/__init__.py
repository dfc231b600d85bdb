"""Devices over SNMP: what a profile asks for, laid over the tables a device has, by one of two engines."""
