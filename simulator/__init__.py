"""A simulated machine room: its physics, devices that answer SNMP on loopback, faults to switch on, and logs of what
happened."""
