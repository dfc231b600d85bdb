"""What SNMP devices do differently from the standard: learnt of each device, remembered, and allowed for."""
