"""Decoding of traps and informs: BER, SNMP v1, v2c and v3 messages, USM. Pure."""
