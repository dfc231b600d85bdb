"""A machine room without hardware: physics, devices answering SNMP on loopback, faults to switch on, and a log of the truth."""
