"""SNMP messages of traps and informs: BER, v1, v2c and v3 messages, and the User-based Security Model. Pure."""
