"""SNMPv3 messages and the User-based Security Model, for polls and for traps: BER, messages, keys, digests. Pure."""
